"""Proxies of the environment are never used for loopback, and are named where they are used."""

import os
import socket
import threading

import httpx
import pytest

from fl.util.network.proxies import exempt_loopback, forget_proxies, proxy_variable

SPELLINGS = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy", "no_proxy", "no_grpc_proxy")


@pytest.fixture
def env(monkeypatch):
    """The environment of this process, without proxies."""
    for name in [name for name in os.environ if name.lower() in SPELLINGS]:
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def server():
    """Something on loopback that answers over HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer():
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("before", [None, "example.org", "127.0.0.1,example.org"])
def test_loopback_is_asked_directly(env, server, name, before):
    env.setenv(name, "http://127.0.0.1:1")
    if before is not None:
        env.setenv("NO_PROXY", before)
    else:
        with pytest.raises(httpx.HTTPError):
            httpx.get(server, timeout=5)
    for spelling in ("no_proxy", "NO_PROXY"):
        env.setenv(spelling, os.environ.get("NO_PROXY", ""))  # put back after the test
    exempt_loopback()
    assert httpx.get(server, timeout=5).status_code == 200


def test_hosts_that_need_no_proxy_stay_exempt_in_both_spellings():
    found = {"NO_PROXY": "a.example.org, .b", "no_grpc_proxy": "c"}
    exempt_loopback(found)
    exempt_loopback(found)
    wanted = "a.example.org,.b,localhost,127.0.0.1,::1"
    assert found["no_proxy"] == found["NO_PROXY"] == wanted
    assert found["no_grpc_proxy"] == "c,localhost,127.0.0.1,::1"
    hidden = {"NO_PROXY": "a", "no_proxy": ""}
    exempt_loopback(hidden)
    assert hidden["NO_PROXY"] == "localhost,127.0.0.1,::1"


def test_all_proxies_are_forgotten_and_nothing_else():
    found = {"Http_Proxy": "x", "grpc_proxy": "x", "ALL_PROXY": "x", "NO_PROXY": "y", "HOME": "z"}
    forget_proxies(found)
    assert found == {"NO_PROXY": "y", "HOME": "z"}


NAMED = {
    "upper": (
        {"HTTPS_PROXY": "http://proxy.example.org:3128"},
        "HTTPS_PROXY (proxy.example.org:3128)",
    ),
    "both": (
        {"HTTPS_PROXY": "http://a:1", "https_proxy": "http://b:2"},
        "https_proxy (b:2)",
    ),
    "all": ({"ALL_PROXY": "socks5://proxy:1080"}, "ALL_PROXY (proxy:1080)"),
    "password": ({"HTTPS_PROXY": "http://anna:secret@proxy:3128"}, "HTTPS_PROXY (proxy:3128)"),
    "no scheme": ({"HTTPS_PROXY": "proxy:3128"}, "HTTPS_PROXY (proxy:3128)"),
    "no port": ({"HTTPS_PROXY": "http://proxy"}, "HTTPS_PROXY (proxy)"),
    "odd": ({"HTTPS_PROXY": "http://[::1"}, "HTTPS_PROXY (which is no URL)"),
    "other scheme": ({"HTTP_PROXY": "http://proxy:3128"}, ""),
    "exempt": ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "example.org"}, ""),
    "exempt subdomain": ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": ".org"}, ""),
    "everything": ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "*"}, ""),
    "none": ({}, ""),
}


@pytest.mark.parametrize("case", NAMED)
def test_the_variable_is_named_with_its_host_and_without_its_password(env, case):
    variables, wanted = NAMED[case]
    for name, value in variables.items():
        env.setenv(name, value)
    assert proxy_variable("https://example.org:8443/health") == wanted
