"""Undocumented names are used with tested versions alone, and one line reports another one."""

import logging

import pytest

from fl.util import tested_versions
from fl.util.tested_versions import PUBLIC_ONLY, is_tested


@pytest.fixture(autouse=True)
def _nothing_reported(monkeypatch):
    for name in (PUBLIC_ONLY, tested_versions._REPORTED):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(tested_versions, "installed_version", lambda package: "1.2.3")


def test_a_tested_version_may_be_used_and_nothing_is_said(capsys):
    assert is_tested("flwr", ("1.2.2", "1.2.3"), "slower")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("versions", [("1.2.30",), ("1.2", "1.2.2")])
def test_another_version_is_reported_once(capsys, versions):
    for _ in range(3):
        assert not is_tested("flwr", versions, "rounds take longer")
    line = f"flwr 1.2.3 (tested: {', '.join(versions)}): rounds take longer"
    assert capsys.readouterr().err.splitlines() == [line]


def test_two_uses_are_reported_apart(capsys):
    is_tested("flwr", (), "one")
    is_tested("flwr", (), "two")
    is_tested("flwr", (), "one")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[-1] for line in lines] == ["one", "two"]


def test_a_log_file_has_the_line_too(monkeypatch, caplog, capsys):
    is_tested("flwr", (), "without a log file")
    monkeypatch.setattr(logging.getLogger("heartfed"), "handlers", [caplog.handler])
    is_tested("flwr", (), "with a log file")
    assert {record.message.split(": ")[-1] for record in caplog.records} == {"with a log file"}
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.parametrize(("value", "used"), [("", True), ("0", True), ("1", False)])
def test_the_documented_way_can_be_asked_for(monkeypatch, capsys, value, used):
    monkeypatch.setenv(PUBLIC_ONLY, value)
    assert is_tested("flwr", ("1.2.3",), "slower") == used
    assert (capsys.readouterr().err == "") == used
