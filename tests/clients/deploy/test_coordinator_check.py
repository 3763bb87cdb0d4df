"""What a site reports of a coordinator it does not reach: certificates and proxies, by name."""

import os
import socket
import ssl
import threading
from contextlib import suppress
from functools import partial

import pytest
from support.sites import joined

from clients.deploy import join
from clients.deploy.join_checks import check_coordinator
from clients.deploy.resident_supernode import ResidentSuperNode
from fl.util.errors import ConfigError
from server.deploy import certificates
from server.deploy.certificates import make_authority, make_server_certificate

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in [name for name in os.environ if name.lower() in PROXIES]:
        monkeypatch.delenv(name)


def serve(context, server):
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return  # the test is over
        wrapped = partial(context.wrap_socket, connection, server_side=True)
        # A client that does not trust us has gone.
        with connection, suppress(OSError), wrapped() as secure:
            secure.recv(1000)
            secure.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nwell")


@pytest.fixture
def site(tmp_path):
    """Makes a site and its coordinator, with certificates that are valid for so many days."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def make(monkeypatch, server_days=397.0, authority_days=3650.0):
            monkeypatch.setattr(certificates, "SERVER_DAYS", server_days)
            monkeypatch.setattr(certificates, "CA_DAYS", authority_days)
            paths = [tmp_path / name for name in ("ca.pem", "ca.key", "server.pem", "server.key")]
            make_authority(*paths[:2], "f")
            make_server_certificate(*paths, ["127.0.0.1"])
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*paths[2:])
            threading.Thread(target=serve, args=(context, server), daemon=True).start()
            return joined(tmp_path, address=f"127.0.0.1:{server.getsockname()[1]}")

        yield make


def check(site):
    check_coordinator(site.invitation, site.folder, site.console)
    return site.console.file.getvalue()


def test_until_when_certificates_are_valid_is_shown(site, monkeypatch):
    output = check(site(monkeypatch))
    assert output.count("valid until 20") == output.count("\n") == 2
    assert "WARNING" not in output


def test_an_expired_server_certificate_is_called_expired(site, monkeypatch):
    with pytest.raises(
        ConfigError, match=r"has expired\. The coordinator makes a new one"
    ) as error:
        check(site(monkeypatch, server_days=-0.02))
    assert "`python -m server.deploy renew`" in str(error.value)


def test_an_expired_authority_is_called_expired(site, monkeypatch):
    text = "authority expired on 20.*Ask the coordinator for a new invitation.*clients.deploy renew"
    with pytest.raises(ConfigError, match=text):
        check(site(monkeypatch, authority_days=-0.02))


def test_certificates_that_end_soon_are_warned_of(site, monkeypatch):
    output = check(site(monkeypatch, server_days=20, authority_days=25))
    assert output.count("days WARNING: it ends soon") == output.count("\n") == 2
    assert "Ask the coordinator for `python -m server.deploy renew`" in output


class Stop(BaseException):
    """Ends `serve`, which has no end of its own."""


def test_a_certificate_that_expires_while_a_site_serves_is_shown_once(site, monkeypatch):
    made, ends = site(monkeypatch, server_days=-0.02), iter([True, False, False, False])

    def run(self):
        for connected in ends:
            return connected
        raise Stop

    monkeypatch.setattr(ResidentSuperNode, "run", run)
    monkeypatch.setattr(join, "RESTART", 0.0)
    with pytest.raises(Stop):
        join.serve(made)
    assert made.console.file.getvalue().count("has expired") == 1


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_that_does_not_answer_is_named_by_its_variable(site, monkeypatch, name):
    made = site(monkeypatch)
    monkeypatch.setenv(name, "http://anna:secret@127.0.0.1:1")
    output = check(made)
    assert f"through the proxy that {name} (127.0.0.1:1) names" in output
    assert "add its host to NO_PROXY" in output
    assert "secret" not in output


def test_a_proxy_that_refuses_is_named_by_its_variable(site, monkeypatch):
    made = site(monkeypatch)
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def refuse():
            connection, _ = proxy.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")

        threading.Thread(target=refuse, daemon=True).start()
        port = proxy.getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        output = check(made)
    assert f"does not answer through the proxy that HTTPS_PROXY (127.0.0.1:{port})" in output
    assert "407" in output


@pytest.mark.parametrize("value", ["socks5://127.0.0.1:1080", "odd://127.0.0.1:1"])
def test_a_proxy_of_an_unknown_kind_is_a_mistake_that_is_named(site, monkeypatch, value):
    made = site(monkeypatch)
    monkeypatch.setenv("ALL_PROXY", value)
    with pytest.raises(ConfigError, match=r"ALL_PROXY \(127.0.0.1:\d+\) is a proxy that cannot be"):
        check(made)
    # A coordinator that needs no proxy is reached all the same: `join` forgets the variables.
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    join.forget_proxies()
    assert "certificate of 127.0.0.1" in check(made)
