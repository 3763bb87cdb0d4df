"""A run directory belongs to one process at a time."""

import errno
import fcntl
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fl.runs.run_lock import LOCK, run_lock
from fl.runs.run_record import make_run_folder
from fl.util.errors import ConfigError

ROOT = Path(__file__).parents[3]
HOLD = """
import sys, time
from pathlib import Path
from fl.runs.run_lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_that_a_live_process_holds_is_refused_and_that_of_a_dead_one_taken(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        refused = pytest.raises(ConfigError, match=rf"\(process {process.pid} on .*--resume")
        with refused, run_lock(tmp_path):
            pytest.fail("two processes hold one folder")
        process.send_signal(signal.SIGKILL)
    assert (tmp_path / LOCK).exists()
    with run_lock(tmp_path):
        pass


def test_a_program_that_a_run_starts_does_not_inherit_its_lock(tmp_path):
    code = "print('started', flush=True); input()"
    with run_lock(tmp_path):
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            close_fds=False,
        )
        # A program's start closes what it does not inherit a moment after `Popen` returns.
        assert process.stdout.readline() == b"started\n"
    with run_lock(tmp_path):
        process.communicate(b"\n")


def test_a_file_system_without_locks_is_said_and_used(tmp_path, monkeypatch, capsys):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with run_lock(tmp_path):
        pass
    assert "cannot be locked (No locks available). Start no second" in capsys.readouterr().err


def test_runs_without_a_name_that_begin_in_one_second_have_different_folders(tmp_path):
    folders = {make_run_folder(tmp_path, "") for _ in range(3)}
    assert len(folders) == 3
    assert {folder.parent for folder in folders} == {tmp_path}


def test_a_name_that_is_taken_is_refused(tmp_path):
    make_run_folder(tmp_path, "mine")
    with pytest.raises(ConfigError, match="already there"):
        make_run_folder(tmp_path, "mine")
