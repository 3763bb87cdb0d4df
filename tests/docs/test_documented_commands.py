"""Each command in the documents of deployment is one that its program accepts; none is run."""

import configparser
import shlex
from pathlib import Path

import pytest
from support.documents import ROOT, accepted, commands_of_ours

PAGES = ("docs/deploy.md", "deploy/README.md", "docs/data.md", "docs/tutorial.md", "docs/serve.md")
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_is_accepted(page, monkeypatch):
    commands = commands_of_ours((ROOT / page).read_text())
    assert commands
    for words in commands:
        with monkeypatch.context() as patch:
            assert accepted(patch, words), shlex.join(words)


def test_a_flag_that_is_not_there_is_noticed(monkeypatch):
    text = (ROOT / "docs" / "deploy.md").read_text()
    words = next(w for w in commands_of_ours(text) if "join" in w)
    assert not accepted(monkeypatch, [*words, "--no-such-flag"])


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_units_start_commands_that_are_there(unit, monkeypatch):
    read = configparser.RawConfigParser(strict=False)
    read.optionxform = str
    read.read(unit)
    words = shlex.split(read["Service"]["ExecStart"])
    assert accepted(monkeypatch, [Path(words[0]).name, *words[1:]])
