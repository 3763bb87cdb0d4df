"""A run that is killed and resumed ends as the run that was never killed, byte for byte."""

import errno
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.run_folders import kill_after, results, wait_for

import run_sim
from fl.util.random_streams import stream

ROOT = Path(__file__).parents[2]
FLAGS = [
    *("--data", "synthetic", "--synthetic-records", "50", "--clients", "3", "--rounds", "4"),
    *("--model", "resnet1d", "--local-epochs", "1", "--partition", "patients", "--workers", "1"),
    *("--fraction", "0.7", "--quiet", "--no-pages"),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nobody killed."""
    out = tmp_path_factory.mktemp("whole")
    assert run_sim.main([*FLAGS, "--engine", "local", "--out", str(out), "--name", "run"]) == 0
    return out / "run"


def start(out, engine):
    command = [sys.executable, str(ROOT / "run_sim.py"), *FLAGS, "--engine", engine]
    return subprocess.Popen(
        [*command, "--out", str(out), "--name", "run"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
        # Whoever runs the tests in the background may have had interrupts ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize(("moment", "engine"), [(1, "local"), (2, "local"), (3, "ray")])
def test_a_killed_run_ends_as_if_it_had_not_been(whole, tmp_path, moment, engine):
    process = start(tmp_path, engine)
    delay = stream(moment, "when to kill").uniform(0, 0.6)
    kill_after(process, tmp_path / "run", rounds=moment, seconds=delay)
    assert process.returncode == -signal.SIGKILL
    assert (
        run_sim.main(
            ["--resume", str(tmp_path / "run"), "--engine", "local", "--quiet", "--no-pages"]
        )
        == 0
    )
    assert results(tmp_path / "run") == results(whole)


def test_an_interrupted_run_ends_with_its_command_and_can_be_resumed(whole, tmp_path):
    process = start(tmp_path, "local")
    wait_for(process, tmp_path / "run", rounds=1)
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 1
    first, line = printed.splitlines()
    assert first == "run_sim.py: interrupted. Continue with:"
    python, script, *flags = shlex.split(line)
    assert (python, Path(script).name) == ("python", "run_sim.py")
    assert flags == ["--resume", str(tmp_path / "run"), "--quiet", "--no-pages"]
    assert run_sim.main(flags) == 0
    assert results(tmp_path / "run") == results(whole)


def test_a_run_on_a_full_disk_ends_in_one_line_and_resumes_once_there_is_room(
    whole, tmp_path, monkeypatch, capsys
):
    left = iter(range(8))

    def full_after_a_while(handle):
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full_after_a_while)
        given = ["--engine", "local", "--out", str(tmp_path), "--name", "run"]
        assert run_sim.main([*FLAGS, *given]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith(f"run_sim.py: stopped: No space left on device at {tmp_path}")
    assert printed.count("\n") == 1
    assert run_sim.main(["--resume", str(tmp_path / "run"), "--quiet", "--no-pages"]) == 0
    assert results(tmp_path / "run") == results(whole)


def test_a_resumed_run_is_marked_so_and_is_complete(whole, tmp_path):
    assert run_sim.main(["--resume", str(whole), "--quiet", "--no-pages"]) == 0
    run = json.loads((whole / "run.json").read_text())
    assert run["status"] == "completed"
    assert len(run["resumed"]) == 1


def test_a_changed_setting_is_refused_by_name(whole, capsys):
    assert run_sim.main(["--resume", str(whole), "--lr", "0.5", "--quiet"]) == 2
    assert "--lr is 0.5, the run has 0.002" in capsys.readouterr().err


def test_changed_data_are_refused_by_source(whole, tmp_path, capsys):
    path = whole / "run.json"
    kept = path.read_bytes()
    run = json.loads(kept)
    run["data"][0]["sha256"] = "0" * 64
    path.write_text(json.dumps(run))
    try:
        assert run_sim.main(["--resume", str(whole), "--quiet", "--no-pages"]) == 2
        assert "the recordings of synthetic" in capsys.readouterr().err
    finally:
        path.write_bytes(kept)


def test_a_folder_that_is_no_run_is_refused(tmp_path, capsys):
    assert run_sim.main(["--resume", str(tmp_path)]) == 2
    assert "is no run directory" in capsys.readouterr().err
