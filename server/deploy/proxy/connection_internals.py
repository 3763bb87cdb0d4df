"""Limits of what a connection may cost: time for TLS, for a head and for taking an answer; number.

uvicorn itself waits without end for the rest of a request's head, and for an answer to be taken.
Its protocol, its list of connections and the start of its server, on which this builds, are not
documented: `server.deploy.proxy.limited_server` takes it with the tested versions alone.
"""

import asyncio
import ipaddress
import logging
import socket
import sys
import time

import uvicorn

try:
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ImportError:  # of another version, with which nothing here is used
    from asyncio import Protocol as H11Protocol  # type: ignore[assignment]

UVICORN_VERSIONS = ("0.49.0",)  # tested
TLS_SECONDS = 10.0  # for the TLS handshake
HEAD_SECONDS = 15.0  # from a connection's start, or a later head's first byte, to the head's end
TAKE_SECONDS = 60.0  # for a part of an answer that waits to be taken
# A SuperNode opens about six at once, and sites behind one address translation share an address.
MOST_OF_AN_ADDRESS = 128
MOST = 512  # of all addresses; below the 1,024 open files that systems usually permit
WARN_AGAIN = 60.0  # seconds between warnings of refused connections


def address_group(host: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 that an IPv6 subscriber is given."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


class LimitedConnection(H11Protocol):
    """One connection of a sender of requests."""

    address = ""
    _head_timer: asyncio.TimerHandle | None = None
    _take_timer: asyncio.TimerHandle | None = None
    _warned = -WARN_AGAIN

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep the connection unless there are too many already."""
        super().connection_made(transport)
        self.address = address_group(self.client[0] if self.client else "")
        same = sum(getattr(c, "address", "") == self.address for c in self.connections)
        if same > MOST_OF_AN_ADDRESS or len(self.connections) > MOST:
            self._warn(f"too many connections: {same} of {self.address}, {len(self.connections)}")
            transport.abort()
            return
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Read on; the time for a head runs while no request is being answered."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_timers()
        elif self._head_timer is None and not self.transport.is_closing():
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timers()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """An answer waits to be taken."""
        super().pause_writing()
        self._take_timer = self.loop.call_later(TAKE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """It is being taken."""
        super().resume_writing()
        if self._take_timer is not None:
            self._take_timer.cancel()
            self._take_timer = None

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _stop_timers(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    @classmethod
    def _warn(cls, text: str) -> None:
        """In the log, but not for each connection: the log would be what is filled."""
        if time.monotonic() - cls._warned >= WARN_AGAIN:
            cls._warned = time.monotonic()
            logging.getLogger("heartfed").warning("%s in all; refused", text)


class LimitedServer(uvicorn.Server):
    """uvicorn with a limit of time for the TLS handshake, of which it has none of its own."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on the configured address."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            self.should_exit = True
            return
        config = self.config
        try:
            server = await asyncio.get_running_loop().create_server(
                self._connection,
                host=config.host,
                port=config.port,
                ssl=config.ssl,
                backlog=config.backlog,
                ssl_handshake_timeout=TLS_SECONDS if config.ssl else None,
            )
        except OSError as error:
            logging.getLogger("uvicorn.error").error(error)
            await self.lifespan.shutdown()
            sys.exit(1)
        self.servers = [server]
        self.started = True

    def _connection(self) -> LimitedConnection:
        return LimitedConnection(self.config, self.server_state, self.lifespan.state)
