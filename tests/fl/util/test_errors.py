"""A command's end: one line for what a user can mend, and a bug keeps its traceback."""

import errno
import os

import pytest

from fl.util.atomic_io import write_atomically
from fl.util.errors import ConfigError, DataError, FederationError, did_you_mean, exit_code


def ended(error):
    """What a command returns that ends with this error."""

    def act():
        raise error

    return exit_code("program", act, "interrupted")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("--lr is -1"), 2, "program: error: --lr is -1"),
        (DataError("A0001.hea: no"), 2, "program: error: A0001.hea: no"),
        (FederationError("Round 2"), 1, "program: stopped: Round 2"),
        (KeyboardInterrupt(), 1, "program: interrupted"),
        (OSError(errno.ENOSPC, "full"), 1, "program: stopped: No space left on device. What"),
        (
            OSError(errno.EDQUOT, "quota", "runs/a/rounds.csv"),
            1,
            "program: stopped: Disk quota exceeded at runs/a/rounds.csv. What",
        ),
    ],
)
def test_what_a_user_can_mend_is_told_in_one_line(capsys, error, code, said):
    assert ended(error) == code
    found = capsys.readouterr().err
    assert found.startswith(said)
    assert found.count("\n") == 1


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "no"), ValueError("a bug")])
def test_anything_else_keeps_its_traceback(error):
    with pytest.raises(type(error)):
        ended(error)


def test_a_file_for_which_there_is_no_room_is_named_and_stays_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "rounds.csv"
    write_atomically(path, b"old")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: .*rounds.csv"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("given", "guess"),
    [
        ("fedvag", " Did you mean fedavg?"),
        ("FedProx", " Did you mean fedprox?"),
        ("resnet", ""),
        ("", ""),
    ],
)
def test_a_name_that_is_nearly_known_is_suggested(given, guess):
    assert did_you_mean(given, ("fedavg", "fedprox")) == guess
