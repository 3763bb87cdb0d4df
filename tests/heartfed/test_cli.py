"""The command `heartfed`: every subcommand is reached, and a mistake is answered in one line."""

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fl
from heartfed.cli import COMMANDS, main

ROOT = Path(__file__).parents[2]


def test_help_lists_every_command_in_one_screen(capsys):
    for arguments in ([], ["--help"]):
        assert main(arguments) == 0
        printed = capsys.readouterr().out
        assert len(printed.splitlines()) < 24
        for name, command in COMMANDS.items():
            assert f"  {name} " in printed
            assert command.summary in printed


def test_the_version_is_shown(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"HeartFed {fl.__version__}\n"


@pytest.mark.parametrize(("name", "wanted"), [("simualte", " Did you mean simulate?"), ("x", "")])
def test_an_unknown_command_is_answered_in_one_line(capsys, name, wanted):
    assert main([name]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"heartfed: error: unknown command {name}.{wanted} Known: simulate, ")
    assert printed.count("\n") == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_answers_help_and_a_mistake_under_its_own_name(capsys, name):
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: heartfed {name} ")
    with pytest.raises(SystemExit) as end:
        main([name, "--xyz"])
    assert end.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"heartfed {name}: error: ")
    assert printed.count("\n") == 1


def test_a_wrong_setting_is_named_under_the_commands_name(capsys):
    assert main(["simulate", "--model", "nope"]) == 2
    assert capsys.readouterr().err.startswith("heartfed simulate: error: --model is 'nope'")


def test_the_installed_command_and_the_module_are_the_same():
    script = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["heartfed"]
    module, _, function = script.partition(":")
    assert getattr(importlib.import_module(module), function) is main
    done = subprocess.run(
        [sys.executable, "-m", "heartfed", "--version"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"HeartFed {fl.__version__}\n")
