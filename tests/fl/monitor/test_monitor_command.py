"""`heartfed monitor` as it is run: standard input, a port, Ctrl-C, a reader that leaves."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import pytest

from fl.monitor.demonstration import FS, demonstration

ROOT = Path(__file__).parents[3]


def lines_of(seconds):
    signal_ = demonstration().signal[:, : round(seconds * FS)]
    rows = [f"{i / FS:.4f},{a:.4f},{b:.4f}" for i, (a, b) in enumerate(signal_.T.tolist())]
    return ("\n".join(["time,II,V1", *rows]) + "\n").encode()


def start(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "fl.monitor", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def events(output):
    return [json.loads(line) for line in output.splitlines()]


def test_standard_input_is_monitored_whatever_is_between_its_lines():
    data = lines_of(9).splitlines(keepends=True)
    hostile = b"\xff\xff,;\x00\n" + b"A" * 100_000 + b"\n"
    process = start("-")
    output, notes = process.communicate(b"".join([*data[:900], hostile, *data[900:]]), timeout=120)
    found = events(output)
    assert process.returncode == 0
    assert sum(event["event"] == "beat" for event in found) >= 6
    assert found[-1]["event"] == "end"
    assert found[-1]["unread_lines"] == 2
    assert b"Traceback" not in notes
    assert b"2 of" in notes


def test_a_sender_at_a_port_and_ctrl_c():
    process = start("--listen", "0")
    try:
        where = b""
        while b"listening at" not in where:
            where = process.stderr.readline()
        port = int(where.rsplit(b":", 1)[1])
        assert where.startswith(b"listening at 127.0.0.1:")
        with socket.create_connection(("127.0.0.1", port)) as nobody:
            nobody.sendall(b"GET / HTTP/1.1\r\n\r\n")  # no sender of samples
        with socket.create_connection(("127.0.0.1", port)) as sender:
            sender.sendall(lines_of(8))
            assert json.loads(process.stdout.readline())["event"] == "beat"
            process.send_signal(signal.SIGINT)
            output, notes = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1
    assert events(output)[-1]["event"] == "end"
    assert events(output)[-1]["interrupted"]
    assert b"Traceback" not in notes


@pytest.mark.slow  # starts a process, as the two tests before it do
def test_a_reader_that_leaves_ends_it_quietly(tmp_path):
    table = tmp_path / "long.csv"
    table.write_bytes(lines_of(12))
    process = start("--speed", "max", str(table))
    process.stdout.close()
    process.stdin.close()
    assert process.wait(timeout=120) == 1
    assert b"Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], b"name one recording"),
        (["-", "--listen", "1"], b"name one recording"),
        (["--listen", "here"], b"--listen is 'here'"),
        (["nowhere.csv"], b"nowhere.csv"),
        (["--unit", "NU", "-"], b"needs mV"),
        (["--speed", "0", "x"], b"no speed"),
    ],
)
def test_a_mistake_is_one_line(arguments, words, capfd):
    from fl.monitor.__main__ import main

    try:
        code = main(arguments)
    except SystemExit as error:
        code = error.code
    assert code == 2
    assert words in capfd.readouterr().err.encode()


def test_a_replay_takes_its_time(tmp_path):
    from fl.monitor.sources import replay

    record, began = demonstration(), time.monotonic()
    blocks = list(islice(replay(record, 20.0, lambda: False), 20))
    assert len(blocks) == 20
    assert time.monotonic() - began >= 0.15
