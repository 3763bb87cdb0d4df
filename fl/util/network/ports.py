"""Whether a port can be listened at, known before anybody relies on it."""

import errno
import socket

from fl.util.errors import ConfigError


def require_free_port(host: str, port: int, whose: str, remedy: str) -> None:
    """`ConfigError` unless a program of ours could listen at the address.

    `whose`: what would listen, and `remedy`: what to do where it cannot; both are parts of the
    error.
    """
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As servers do: a port whose last connections have just been closed is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
            probe.listen()
    except OSError as error:
        raise ConfigError(f"{whose}: {_reason(host, port, error)}. {remedy}") from None


def _reason(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use by another program"
    if error.errno == errno.EACCES:
        return f"port {port} of {host} may not be used by this account (those below 1024 may not)"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"{host} is no address of this machine"
    return f"port {port} of {host} cannot be used ({error.strerror})"
