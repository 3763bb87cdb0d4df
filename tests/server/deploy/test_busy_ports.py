"""A coordinator whose ports another program has is not started, and which port it is is named."""

import os
import socket

import pytest

from fl.util.child_process import free_port
from server.deploy import __main__ as deploy
from server.deploy import superlink_process


@pytest.fixture
def started(monkeypatch):
    """Programs that `serve` would have started."""
    commands = []
    monkeypatch.setattr(superlink_process, "ChildProcess", lambda *given: commands.append(given))
    return commands


def federation(path, port, superlink_port):
    flags = ("--host", "127.0.0.1", "--listen", "127.0.0.1", "--port", str(port))
    more = ("--superlink-port", str(superlink_port))
    assert deploy.main(["init", str(path), *flags, *more]) == 0
    return str(path)


@pytest.mark.parametrize("which", ["port", "superlink_port"])
def test_a_busy_port_is_named_before_sites_are_awaited(tmp_path, capsys, started, which):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        ports = {"port": free_port(), "superlink_port": free_port()}
        ports[which] = busy.getsockname()[1]
        path = federation(tmp_path / "f", **ports)
        assert deploy.main(["serve", path]) == 2
    output = capsys.readouterr()
    assert f"port {ports[which]} of 127.0.0.1 is in use by another program" in output.err
    assert f"change `{which}` in {path}/federation.toml" in output.err
    assert output.err.count("\n") == 1
    assert "sites are awaited" not in output.out
    assert started == []


def test_a_coordinator_uses_no_proxy_of_the_environment(tmp_path, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "grpc_proxy"):
        monkeypatch.setenv(name, "socks5://127.0.0.1:1")
    federation(tmp_path / "f", 1, 2)
    left = {name.lower() for name in os.environ if name.lower().endswith("_proxy")}
    assert left <= {"no_proxy", "no_grpc_proxy"}
