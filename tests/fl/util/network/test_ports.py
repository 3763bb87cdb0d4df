"""A port that another program has is found before anybody relies on it."""

import errno
import socket

import pytest

from fl.util.errors import ConfigError
from fl.util.network import ports
from fl.util.network.ports import require_free_port


def refused(host, port):
    with pytest.raises(ConfigError) as error:
        require_free_port(host, port, "the port", "Do this.")
    return str(error.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_busy_port_is_named_with_what_to_do(host):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        text = refused(host, port)
    assert text == f"the port: port {port} of {host} is in use by another program. Do this."
    require_free_port(host, port, "the port", "Do this.")  # it is free again


def test_a_port_whose_last_connection_was_just_closed_is_free():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            server.accept()[0].close()  # it waits in TIME_WAIT now
    require_free_port("127.0.0.1", port, "the port", "Do this.")


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_of_another_machine_is_named(host):
    assert f"{host} is no address of this machine" in refused(host, 8443)


def test_a_port_that_needs_more_rights_is_named(monkeypatch):
    class Denied(socket.socket):
        def bind(self, place):
            raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(ports.socket, "socket", Denied)
    assert "may not be used by this account" in refused("127.0.0.1", 443)
