"""Whether a run goes on, and the line that continues it."""

import shlex
import sys
from pathlib import Path

import pytest

from fl.config.run_options import RunOptions
from fl.runs.run_lock import LOCK, run_lock
from fl.runs.run_state import command_of, is_held, own_command, resume_line, run_state


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ({"status": "running"}, "interrupted"),
        ({"status": "failed", "error": "KeyboardInterrupt: "}, "interrupted"),
        ({"status": "failed", "error": "FederationError: no quorum"}, "failed"),
        ({"status": "completed"}, "completed"),
        ({"status": ["completed"]}, "unreadable"),
        ({}, "unreadable"),
    ],
)
def test_a_run_that_no_process_holds_is_over(tmp_path, facts, state):
    assert run_state(tmp_path, facts) == state


def test_a_run_is_running_while_a_process_holds_it(tmp_path):
    with run_lock(tmp_path):
        assert run_state(tmp_path, {"status": "running"}) == "running"
    assert (tmp_path / LOCK).exists()
    assert not is_held(tmp_path)


def test_to_look_whether_it_is_held_does_not_keep_a_run_from_starting(tmp_path):
    for _ in range(3):
        assert not is_held(tmp_path)
        with run_lock(tmp_path):
            assert is_held(tmp_path)


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / LOCK).symlink_to("/etc/hostname")
    assert is_held(tmp_path)  # cannot be found out


def test_the_line_has_the_options_that_run_json_lacks_and_can_be_pasted():
    options = RunOptions(cache_dir=Path("/big disk/cache"), quiet=True, pages=False)
    line = resume_line(Path("runs/it's mine"), "heartfed simulate", options)
    assert shlex.split(line) == [
        *("heartfed", "simulate", "--resume", "runs/it's mine"),
        *("--cache-dir", "/big disk/cache", "--quiet", "--no-pages"),
    ]
    assert resume_line(Path("runs/a"), "python run_sim.py") == "python run_sim.py --resume runs/a"


@pytest.mark.parametrize(
    ("facts", "command"),
    [
        ({"command": ["/tmp/evil; rm -rf ~/run_sim.py"]}, "python run_sim.py"),
        ({"command": ["/usr/bin/heartfed", "simulate"]}, "heartfed simulate"),
        ({"command": "run_sim.py"}, "heartfed simulate"),
        ({"engine": "deployment"}, "heartfed coordinator run FEDERATION"),
    ],
)
def test_nothing_that_a_run_directory_says_becomes_part_of_the_command(facts, command):
    assert command_of(facts) == command


def test_a_script_is_named_as_it_was_started(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/opt/heart fed/run_sim.py"])
    assert own_command() == "python '/opt/heart fed/run_sim.py'"
    monkeypatch.setattr(sys, "argv", ["/usr/bin/heartfed"])
    assert own_command() == "heartfed simulate"
