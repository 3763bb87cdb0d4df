"""Ray's sockets have short paths, however long the path of the folder for temporary files is."""

import os

import pytest

from fl.util.errors import ConfigError
from server.engines.ray_workers import RAY_SOCKET, ray_folder


@pytest.fixture(autouse=True)
def _forget(monkeypatch):
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    ray_folder.cache_clear()
    yield
    ray_folder.cache_clear()


def test_the_usual_folder_is_kept_while_it_is_short(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TMPDIR", "/tmp/mine")
    assert ray_folder() == "/tmp/mine/ray"
    assert not capsys.readouterr().err


def test_a_long_folder_is_replaced_and_that_is_printed(monkeypatch, capsys):
    monkeypatch.setenv("TMPDIR", "/tmp/" + "x" * 90)
    assert len(f"{ray_folder()}/{RAY_SOCKET}") <= 107
    assert "too long for Ray's sockets; Ray uses /" in capsys.readouterr().err


def test_without_a_short_folder_one_line_says_what_to_do(monkeypatch):
    monkeypatch.setenv("TMPDIR", "/tmp/" + "x" * 90)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ConfigError, match=r"of 95 bytes.*Set TMPDIR to a shorter one"):
        ray_folder()
