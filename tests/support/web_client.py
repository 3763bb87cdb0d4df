"""Asks the web application in process, without a network."""

import asyncio
from collections.abc import AsyncIterator, Iterable

import httpx
from starlette.types import ASGIApp

ADDRESS = "http://localhost:8765"


class WebClient:
    """A browser without scripts: it sends requests one after the other, or many at once."""

    def __init__(self, app: ASGIApp, address: str = ADDRESS) -> None:
        self.app, self.address = app, address
        self.cookies = httpx.Cookies()
        self.loop = asyncio.new_event_loop()

    def get(self, path: str, **options) -> httpx.Response:
        return self.all([("GET", path, options)])[0]

    def post(self, path: str, **options) -> httpx.Response:
        return self.all([("POST", path, options)])[0]

    def all(self, requests: Iterable[tuple[str, str, dict]]) -> list[httpx.Response]:
        """The answers to requests that are sent at once."""

        async def ask() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(
                transport=transport, base_url=self.address, cookies=self.cookies, timeout=120
            ) as client:
                answers = [client.request(m, path, **options) for m, path, options in requests]
                found = await asyncio.gather(*answers)
                self.cookies.update(client.cookies)
                return found

        return self.loop.run_until_complete(ask())

    def upload(self, *files: tuple[str, bytes], **fields: str) -> httpx.Response:
        """The answer to an upload, after the redirect."""
        parts = [("files", file) for file in files]
        return self.post("/answer", files=parts, data=fields, follow_redirects=True)

    def close(self) -> None:
        self.loop.close()


async def pieces(piece: bytes, times: int) -> AsyncIterator[bytes]:
    """The same bytes again and again, as a body that is never in memory as a whole."""
    for _ in range(times):
        yield piece
