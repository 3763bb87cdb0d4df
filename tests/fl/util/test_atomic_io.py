"""A file is written completely or not at all."""

import errno
import os

import pytest

from fl.util.atomic_io import write_atomically


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_file_is_written_completely_or_not_at_all(tmp_path):
    path = tmp_path / "table.csv"
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "text instead of bytes")
    assert contents(tmp_path) == {"table.csv": b"old"}
    write_atomically(path, b"new")
    assert contents(tmp_path) == {"table.csv": b"new"}


def test_on_a_full_disk_the_file_is_named_and_stays_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "rounds.csv"
    write_atomically(path, b"old")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: .*rounds.csv"):
        write_atomically(path, b"new")
    assert contents(tmp_path) == {"rounds.csv": b"old"}
