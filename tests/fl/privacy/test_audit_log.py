"""An audit log is only added to; whatever stops its writer, the chain goes on."""

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl.privacy.audit_log import log_file
from fl.privacy.audit_log.chain import MOST_BYTES, START, line_digest
from fl.privacy.audit_log.digests import arrays_digest
from fl.privacy.audit_log.log_file import AuditLog, log_files
from fl.privacy.audit_log.verification import verify

ROOT = Path(__file__).parents[3]
WRITER = """
import sys
from pathlib import Path
from fl.privacy.audit_log.log_file import AuditLog
log, n = AuditLog(Path(sys.argv[1]), most_lines=40), int(sys.argv[2])
print("ready", flush=True)
while n:
    log.append({"event": "written", "by": sys.argv[3]})
    n -= 1
"""


def event(n=0):
    return {"event": "counted", "n": n}


def lines_of(folder):
    files = log_files(folder)
    return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]


def writer(folder, number, name):
    """Another process that adds so many lines; for ever where the number is negative."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(number), name],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_each_line_carries_the_digest_of_the_line_before_it(tmp_path):
    log = AuditLog(tmp_path / "audit")
    heads = [log.append(event(n)) for n in range(3)]
    (file,) = log_files(log.folder)
    raw = file.read_bytes().split(b"\n")
    assert raw.pop() == b""
    found = [json.loads(line) for line in raw]
    assert [line["line"] for line in found] == [1, 2, 3]
    assert [line["previous"] for line in found] == [START, *map(line_digest, raw[:2])]
    assert [head.sha256 for head in heads] == [line_digest(line) for line in raw]
    assert log.head() == heads[-1] == verify(log.folder).head


@pytest.mark.parametrize("umask", [0, 0o077, 0o777])
def test_a_log_is_its_owners_alone_whatever_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        AuditLog(tmp_path / "audit").append(event())
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "audit").iterdir()}
    assert (tmp_path / "audit").stat().st_mode & 0o777 == 0o700
    assert modes == {".lock": 0o600, "audit-000000001.jsonl": 0o600}


def test_a_log_that_was_left_open_is_taken_away_from_others(tmp_path):
    log = AuditLog(tmp_path / "audit")
    log.append(event())
    (file,) = log_files(log.folder)
    log.folder.chmod(0o755)
    file.chmod(0o644)
    log.append(event())
    assert (log.folder.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path):
    log = AuditLog(tmp_path / "audit")
    log.append(event())
    (file,) = log_files(log.folder)
    file.rename(tmp_path / "elsewhere.jsonl")
    file.symlink_to(tmp_path / "elsewhere.jsonl")
    with pytest.raises(OSError, match="symbolic link"):
        log.append(event())


@pytest.mark.parametrize("left", range(1, 7))
def test_a_torn_last_line_is_set_aside_and_the_chain_goes_on(tmp_path, left):
    log = AuditLog(tmp_path / "audit")
    log.append(event(1), event(2))
    (file,) = log_files(log.folder)
    whole = file.read_bytes()
    torn = whole[: -1 - len(whole.splitlines()[1]) * left // 7]
    file.write_bytes(torn)
    found = verify(log.folder)
    assert (found.broken, found.torn, found.last_is_torn, found.lines) == ("", 1, True, 1)
    log.append(event(3))
    assert file.read_bytes().startswith(torn)
    found = verify(log.folder)
    assert (found.broken, found.torn, found.last_is_torn, found.lines) == ("", 1, False, 3)
    assert [line["event"] for line in lines_of_whole(file)] == ["counted", "torn", "counted"]


def lines_of_whole(file):
    found = []
    for line in file.read_bytes().split(b"\n"):
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def test_a_line_that_lacks_only_its_end_is_a_line(tmp_path):
    log = AuditLog(tmp_path / "audit")
    log.append(event(1))
    (file,) = log_files(log.folder)
    file.write_bytes(file.read_bytes().removesuffix(b"\n"))
    log.append(event(2))
    found = verify(log.folder)
    assert (found.broken, found.torn, found.lines) == ("", 0, 2)


def test_torn_twice_in_the_place_where_it_is_stated(tmp_path):
    log = AuditLog(tmp_path / "audit")
    log.append(event(1))
    (file,) = log_files(log.folder)
    with file.open("ab") as opened:
        opened.write(b'{"line": 2, "ti\n{"line": 2, "time": "x", "event": "torn", "par')
    log.append(event(2))
    found = verify(log.folder)
    assert (found.broken, found.torn, found.lines) == ("", 2, 3)


@settings(max_examples=60)
@given(st.lists(st.one_of(st.binary(max_size=40), st.just(b'{"line": 1}'), st.just(b"\n\n"))))
def test_whatever_stands_in_a_file_is_neither_an_error_nor_in_the_way_of_the_next_line(parts):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "audit-000000001.jsonl").write_bytes(b"\n".join(parts))
        verify(Path(folder))
        head = AuditLog(Path(folder)).append(event())
        found = verify(Path(folder))
        assert (found.broken, found.head) == ("", head)


def test_kill_9_while_lines_are_written_loses_no_line_before_it(tmp_path):
    folder = tmp_path / "audit"
    for name in ("a", "b"):
        process = writer(folder, -1, name)
        process.stdout.readline()
        time.sleep(0.15)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    log = AuditLog(folder)
    log.append(event())
    found = verify(folder)
    assert found.broken == ""
    assert {line.get("by") for line in lines_of(folder)} >= {"a", "b"}
    assert found.head == log.head()


def test_two_processes_that_write_at_the_same_time_make_one_chain(tmp_path):
    folder = tmp_path / "audit"
    both = [writer(folder, 60, name) for name in ("a", "b")]
    assert [process.communicate(timeout=60)[1] for process in both] == [None, None]
    found = verify(folder)
    assert (found.broken, found.lines, found.torn) == ("", 120, 0)
    assert found.files == 3
    by = [line["by"] for line in lines_of(folder)]
    assert (by.count("a"), by.count("b")) == (60, 60)


@pytest.fixture
def full_disk(monkeypatch):
    """A disk that takes the first 30 bytes of what is written, while `full[0]`."""
    full, write = [True], os.write

    def on_full_disk(handle, content):
        if not full[0]:
            return write(handle, content)
        if len(content) > 30 and full[0] is True:
            full[0] = 1
            return write(handle, bytes(content[:30]))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(log_file.os, "write", on_full_disk)
    return full


def test_a_full_disk_is_a_warning_and_what_is_missing_is_counted(tmp_path, full_disk, caplog):
    log = AuditLog(tmp_path / "audit")
    assert log.try_append(event(1), event(2)) is None
    assert log.try_append(event(3)) is None
    assert caplog.text.count("cannot be written") == 2
    with pytest.raises(OSError, match="No space"):
        log.append(event(4))
    full_disk[0] = False
    log.append(event(5))
    log.append(event(6))
    found = verify(log.folder)
    assert (found.broken, found.lost, found.torn) == ("", 4, 1)


def test_a_lock_that_is_never_given_back_is_an_error_and_no_wait_without_end(tmp_path, monkeypatch):
    import fcntl

    log = AuditLog(tmp_path / "audit")
    log.append(event())
    monkeypatch.setattr(log_file, "LOCK_SECONDS", 0.05)
    with (log.folder / ".lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert log.try_append(event()) is None
    log.append(event())
    assert verify(log.folder).lost == 1


@pytest.fixture
def clock(monkeypatch):
    """The time that lines are given: `now[0]`, which a test may set."""
    now = [datetime(2026, 1, 10, tzinfo=UTC)]
    monkeypatch.setattr(log_file, "time_now", lambda: now[0])
    return now


def test_a_file_is_of_one_month_and_of_so_many_lines(tmp_path, clock):
    log = AuditLog(tmp_path / "audit", most_lines=4)
    for n in range(6):
        log.append(event(n))
    clock[0] = datetime(2026, 2, 1, tzinfo=UTC)
    log.append(event())
    names = [file.name for file in log_files(log.folder)]
    assert names == [f"audit-{n:09}.jsonl" for n in (1, 5, 7)]
    assert verify(log.folder).broken == ""


def test_what_is_removed_after_its_time_is_stated_in_the_chain(tmp_path, clock):
    log = AuditLog(tmp_path / "audit", keep_days=100, most_lines=4)
    for n in range(9):
        log.append(event(n))
    clock[0] += timedelta(days=99)
    log.append(event())
    assert len(log_files(log.folder)) == 4
    clock[0] += timedelta(days=32)
    head = log.append(event())
    found = verify(log.folder)
    assert found.broken == ""
    assert [r["lines"] for r in found.removed] == [[1, 4], [5, 8], [9, 9]]
    assert (found.first, found.head) == (10, head)
    assert "event" in found.removed[0]
    assert found.removed[0]["keep-days"] == 100


def test_a_writer_that_was_stopped_before_it_removed_a_file_leaves_a_whole_log(
    tmp_path, clock, monkeypatch
):
    log = AuditLog(tmp_path / "audit", keep_days=30, most_lines=2)
    for n in range(4):
        log.append(event(n))
    clock[0] += timedelta(days=40)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        log.append(event())
    assert verify(log.folder).broken == ""
    (tmp_path / "audit" / "audit-000000001.jsonl").unlink()  # the first of two
    assert verify(log.folder).broken == ""


def test_nothing_is_removed_where_zero_days_are_asked_for(tmp_path, clock):
    log = AuditLog(tmp_path / "audit", keep_days=0, most_lines=1)
    log.append(event())
    clock[0] += timedelta(days=30_000)
    log.append(event())
    assert len(log_files(log.folder)) == 2


DEEP: list = []
for _ in range(2000):
    DEEP = [DEEP]
ODD = [
    *(float("nan"), -float("inf"), 10**5000, True, None, b"bytes", object(), DEEP, "\ud800"),
    *("a\nb\x1b[2J" * 10**5, ["x" * 999] * 10**4, {str(n): {"y": [1] * 99} for n in range(9999)}),
    np.float32("nan"),
    np.int64(3),
]


@pytest.mark.parametrize("value", ODD, ids=lambda value: type(value).__name__)
def test_any_value_makes_a_line_that_can_be_read(tmp_path, value):
    log = AuditLog(tmp_path / "audit")
    odd = {"event": "odd", "value": value, "line": 9, "previous": 1, "time": 2, "k\n" * 500: value}
    log.append(odd, event())
    (file,) = log_files(log.folder)
    raw = file.read_bytes()
    assert len(raw) < 2 * MOST_BYTES
    assert raw.count(b"\n") == 2
    assert b"\x1b" not in raw
    assert verify(log.folder).broken == ""


def test_the_digest_of_weights_is_of_what_they_hold():
    weights = {"b": np.arange(3, dtype=np.float32), "a": np.float64(1.5)}
    assert arrays_digest(weights) == arrays_digest(dict(reversed(weights.items())))
    for other in (
        weights | {"b": np.arange(3, dtype=np.float64)},
        weights | {"b": np.array([0, 1, 3], dtype=np.float32)},
        weights | {"b": weights["b"][:, None]},
        {"b": weights["b"], "c": weights["a"]},
    ):
        assert arrays_digest(other) != arrays_digest(weights)
