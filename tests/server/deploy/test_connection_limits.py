"""Connections that cost a coordinator too much are closed: each test is named after its attack."""

import asyncio
import contextlib
import ssl
import time

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fl.util.tested_versions import PUBLIC_ONLY
from server.deploy.certificates import make_authority, make_server_certificate
from server.deploy.proxy import connection_internals
from server.deploy.proxy.connection_internals import LimitedServer, address_group
from server.deploy.proxy.limited_server import limited_server


@contextlib.asynccontextmanager
async def serving(app, **config):
    """The proxy's server on a port of loopback."""
    config = {"host": "127.0.0.1", "port": 0, "lifespan": "off", "log_level": "critical"} | config
    server = limited_server(app, **config)
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:
            await asyncio.sleep(0.01)
    try:
        yield server, server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


async def read_body(request):
    return PlainTextResponse(str(len(await request.body())))


PLAIN = Starlette(routes=[Route("/", read_body, methods=["GET", "POST"])])


async def is_closed(reader, seconds=5.0):
    """Whether the other end closes the connection within these seconds."""
    try:
        async with asyncio.timeout(seconds):
            while await reader.read(2**16):
                pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


async def drip(writer, part, number=1000):
    with contextlib.suppress(ConnectionError):
        for _ in range(number):
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.02)


def test_half_requests_are_not_held(monkeypatch):
    monkeypatch.setattr(connection_internals, "HEAD_SECONDS", 0.3)

    async def attack():
        async with serving(PLAIN) as (server, port):
            began = time.monotonic()
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
            drips = []
            for number, (_, writer) in enumerate(held):
                if number % 2:
                    writer.write(b"POST / HTTP/1.1\r\n")
                    drips.append(asyncio.create_task(drip(writer, b"x: y\r\n")))
            assert all(await asyncio.gather(*(is_closed(reader) for reader, _ in held)))
            for task in drips:
                task.cancel()
            assert not server.server_state.connections
            for _, writer in held:
                writer.close()
            return time.monotonic() - began

    assert asyncio.run(attack()) < 5


def test_a_body_after_the_answer_is_cut_off(monkeypatch):
    monkeypatch.setattr(connection_internals, "HEAD_SECONDS", 0.3)

    async def attack():
        async with serving(PLAIN) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /none HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
            dripping = asyncio.create_task(drip(writer, b"1\r\nx\r\n"))
            closed = await is_closed(reader)
            dripping.cancel()
            writer.close()
            return closed

    assert asyncio.run(attack())


def test_more_connections_of_one_address_than_permitted_are_closed(monkeypatch):
    monkeypatch.setattr(connection_internals, "MOST_OF_AN_ADDRESS", 3)

    async def attack():
        async with serving(PLAIN) as (_, port):
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            await asyncio.sleep(0.05)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await is_closed(reader)
            writer.close()
            held[0][1].close()
            await asyncio.sleep(0.05)
            async with httpx.AsyncClient() as client:
                assert (await client.get(f"http://127.0.0.1:{port}/")).status_code == 200
            for _, writer in held:
                writer.close()

    asyncio.run(attack())


def test_an_answer_that_nobody_takes_is_not_kept(monkeypatch):
    monkeypatch.setattr(connection_internals, "TAKE_SECONDS", 0.3)

    async def much(request):
        return Response(b"x" * 2**25)

    async def attack():
        async with serving(Starlette(routes=[Route("/", much)])) as (server, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**10)
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            await asyncio.sleep(0.1)
            assert server.server_state.connections
            async with asyncio.timeout(5):
                while server.server_state.connections:
                    await asyncio.sleep(0.02)
            writer.close()

    asyncio.run(attack())


async def slow_body(parts, pause):
    for _ in range(parts):
        await asyncio.sleep(pause)
        yield b"x" * 100


def test_slow_but_honest_requests_are_served(monkeypatch):
    monkeypatch.setattr(connection_internals, "HEAD_SECONDS", 0.2)

    async def served():
        async with serving(PLAIN) as (_, port), httpx.AsyncClient() as client:
            url = f"http://127.0.0.1:{port}/"
            body = slow_body(20, pause=0.02)  # takes longer than a head may
            assert (await client.post(url, content=body)).text == "2000"
            await asyncio.sleep(0.4)
            assert (await client.get(url)).status_code == 200

    asyncio.run(served())


def test_half_a_tls_handshake_is_not_held(monkeypatch, tmp_path):
    monkeypatch.setattr(connection_internals, "TLS_SECONDS", 0.3)
    paths = [tmp_path / name for name in ("ca.pem", "ca.key", "server.pem", "server.key")]
    make_authority(*paths[:2], "f")
    make_server_certificate(*paths, ["127.0.0.1"])
    files = {"ssl_certfile": str(paths[2]), "ssl_keyfile": str(paths[3])}

    async def attack():
        async with serving(PLAIN, **files) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await is_closed(reader)
            writer.close()
            trusted = ssl.create_default_context(cafile=str(paths[0]))
            async with httpx.AsyncClient(verify=trusted) as client:
                assert (await client.get(f"https://127.0.0.1:{port}/")).status_code == 200

    asyncio.run(attack())


async def requests_of(port, number):
    """Status of each of so many requests, while as many connections are held as are permitted."""
    async with httpx.AsyncClient() as client:
        return [(await client.get(f"http://127.0.0.1:{port}/")).status_code for _ in range(number)]


def test_with_an_untested_uvicorn_its_documented_limits_hold(monkeypatch, capsys):
    monkeypatch.setenv(PUBLIC_ONLY, "1")
    monkeypatch.delenv("HEARTFED_REPORTED", raising=False)
    monkeypatch.setattr(connection_internals, "MOST", 3)

    async def served():
        async with serving(PLAIN, timeout_graceful_shutdown=1) as (server, port):
            assert type(server) is uvicorn.Server
            assert not isinstance(server, LimitedServer)
            assert await requests_of(port, 2) == [200, 200]
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            await asyncio.sleep(0.05)
            assert await requests_of(port, 1) == [503]
            for _, writer in held:
                writer.close()
            await asyncio.sleep(0.05)
            assert await requests_of(port, 1) == [200]

    asyncio.run(served())
    assert "uvicorn" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "group"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_addresses_of_one_subscriber_count_as_one(host, group):
    assert address_group(host) == group
