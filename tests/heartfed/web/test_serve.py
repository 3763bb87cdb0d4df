"""The command `heartfed serve`: its mistakes are one line, Ctrl-C ends it."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from support.rules import even_rule
from support.saved_models import save_model

from fl.ecg.tasks import RHYTHM
from heartfed.web import serve
from heartfed.web.serve import listening, main, parser, settings_for, unique_names


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--weights", "nowhere.safetensors"], "--weights nowhere.safetensors: no such file"),
        (["nowhere"], "nowhere: is no run directory"),
        (["--host", "no.such.host.invalid"], "--host is 'no.such.host.invalid'"),
        (["--host", "192.0.2.1"], "--host 192.0.2.1 --port 0: cannot listen there"),
    ],
)
def test_a_mistake_is_one_line(capsys, arguments, words):
    assert main([*arguments, "--port", "0"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"heartfed serve: error: {words}")
    assert printed.count("\n") == 1


@pytest.mark.parametrize("flags", [["--port", "99999"], ["--max-upload-mib", "0"], ["--port", "x"]])
def test_a_number_out_of_range_is_refused(capsys, flags):
    with pytest.raises(SystemExit) as end:
        main(flags)
    assert end.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_busy_port_is_named(capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        assert main(["--port", str(other.getsockname()[1])]) == 2
    assert "another program listens there" in capsys.readouterr().err


def test_a_runs_models_are_those_of_its_federation(tmp_path):
    path = save_model(
        tmp_path / "run", "cnn1d", "rhythm", decision=even_rule(RHYTHM.classes).to_json()
    )
    for name in ("local-site-1", "fedavg-site-2"):
        for suffix in ("-best.safetensors", ".json"):
            source = path.with_name(f"fedavg{suffix}")
            path.with_name(f"{name}{suffix}").write_bytes(source.read_bytes())
    (tmp_path / "run" / "run.json").write_text("{}")
    models = serve.load_models(tmp_path / "run", [path], "pooled")
    assert [m.name for m in models] == ["fedavg"]


def test_names_of_models_differ():
    paths = [Path(p) for p in ("a/weights/x-best.st", "b/weights/x-best.st", "b/weights/y-best.st")]
    assert unique_names(paths) == ["a/x", "b/x", "y"]


@pytest.mark.parametrize(("host", "asks"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_a_token_is_asked_for_beyond_loopback(host, asks):
    options = parser("x").parse_args(["--host", host, "--port", "0", "--max-upload-mib", "3"])
    with listening(host, 0) as bound:
        settings = settings_for(options, (), bound)
    assert (settings.token is not None) == asks
    assert settings.beyond_loopback == asks
    assert settings.most_upload == 3 * 2**20
    assert settings.closing.is_set() is False


def test_ctrl_c_ends_it_and_its_address_is_printed():
    process = subprocess.Popen(
        [sys.executable, "-m", "heartfed", "serve", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        line = process.stdout.readline()
        address = line.split()[1]
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address, timeout=20) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert errors.splitlines()[-1] == "ended"
