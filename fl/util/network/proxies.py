"""Proxies that the environment names: never for loopback, and named where they are in the way."""

import os
import urllib.request
from collections.abc import MutableMapping
from urllib.parse import urlsplit

LOOPBACK = ("localhost", "127.0.0.1", "::1")
VARIABLES = frozenset(f"{kind}_proxy" for kind in ("http", "https", "all", "grpc", "ws", "wss"))


def forget_proxies(environment: MutableMapping[str, str] | None = None) -> None:
    """Let no proxy be used at all, by this program or those that it starts.

    For what speaks to this machine alone. To exempt loopback is not enough there: a proxy of a
    kind that the HTTP client does not know ends it although it would not be used.
    """
    env = os.environ if environment is None else environment
    for name in [name for name in env if name.lower() in VARIABLES]:
        del env[name]


def exempt_loopback(environment: MutableMapping[str, str] | None = None) -> None:
    """Let no proxy be used for this machine itself, by this program or those that it starts.

    Both spellings get the same hosts: programs differ in which one they read first.
    """
    env = os.environ if environment is None else environment
    # As urllib and httpx: a lower-case name, even if it is empty, hides the upper-case one.
    hosts = _hosts(env.get("no_proxy", env.get("NO_PROXY", "")))
    env["no_proxy"] = env["NO_PROXY"] = _with_loopback(hosts)
    if "no_grpc_proxy" in env:  # gRPC reads it instead
        env["no_grpc_proxy"] = _with_loopback(_hosts(env["no_grpc_proxy"]))


def _hosts(text: str) -> list[str]:
    return [host.strip() for host in text.split(",") if host.strip()]


def _with_loopback(hosts: list[str]) -> str:
    return ",".join([*hosts, *(own for own in LOOPBACK if own not in hosts)])


def proxy_variable(url: str) -> str:
    """`HTTPS_PROXY (proxy.example.org:3128)` where the environment names a proxy for it, or ''.

    Names and passwords that the variable may hold are not shown.
    """
    parts = urlsplit(url)
    proxies = urllib.request.getproxies_environment()
    if urllib.request.proxy_bypass(parts.hostname or ""):
        return ""
    for kind in (parts.scheme, "all"):
        if not (value := proxies.get(kind)):
            continue
        name = f"{kind}_proxy"
        names = [n for n in os.environ if n.lower() == name and os.environ[n] == value]
        return f"{min(names, key=lambda n: n != name)} ({_place(value)})"
    return ""


def _place(value: str) -> str:
    """Host and port of a proxy."""
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if host is None:
        return "which is no URL"
    return f"{host}:{port}" if port else host
