"""The reverse proxy before the SuperLink: it passes what a SuperNode needs, and nothing else.

A SuperLink serves everything on one port, and whoever reaches it may register nodes, start
programs and stop runs. So it listens on loopback alone, and this stands before it: TLS, the paths
of Flower's Fleet API, and 404 for the rest. The SuperLink still checks the keys of the nodes.

A SuperNode asks for messages, and if there are none sleeps three seconds. With the tested versions
of Flower the proxy asks the SuperLink again and again for a while before it answers that there are
none, so that a message that comes in the meantime does not wait.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fl.util.polling import Backoff
from fl.util.tested_versions import is_tested
from server.deploy import fleet_internals

FLEET = (
    *("activate-node", "deactivate-node", "send-node-heartbeat", "get-run", "get-fab"),
    *("pull-messages", "push-messages", "pull-object", "push-object", "confirm-message-received"),
)
PULL = "/v1/fleet/pull-messages"
HOLD = 20.0  # seconds a question for messages is held; a SuperNode gives up after 30
LARGEST = 256 * 2**20  # bytes of a request; the largest network here sends a tenth of it
OF_THE_CONNECTION = {"host", "content-length", "transfer-encoding", "connection"}
# httpx asks the SuperLink for the encodings that it knows, and decodes the answer: the body that
# is passed on is no longer what content-encoding says.
NOT_ASKED = OF_THE_CONNECTION | {"accept-encoding"}
NOT_ANSWERED = OF_THE_CONNECTION | {"content-encoding"}


def never(content: bytes) -> bool:
    """No answer is held: with an untested version of Flower it is not known which to hold."""
    return False


@dataclass(frozen=True)
class FleetProxy:
    """Passes the Fleet API on to the SuperLink at `upstream`.

    `is_empty`: whether an answer to a question for messages holds none, so that it is held.
    """

    upstream: httpx.AsyncClient
    is_empty: Callable[[bytes], bool] = never

    async def health(self, request: Request) -> Response:
        """200 if the SuperLink behind the proxy answers."""
        try:
            answer = await self.upstream.get("/health")
        except httpx.HTTPError:
            return PlainTextResponse("the SuperLink does not answer", 503)
        return PlainTextResponse("well", 503 if answer.status_code >= 500 else 200)

    async def fleet(self, request: Request) -> Response:
        """One request of a SuperNode."""
        body = await read_body(request)
        if body is None:
            return PlainTextResponse("too large", 413)
        try:
            answer = await self._ask(request, body)
            if request.url.path == PULL:
                answer = await self._hold(request, body, answer)
        except httpx.HTTPError:
            return PlainTextResponse("the SuperLink does not answer", 503)
        if answer.status_code >= 500:
            # A SuperNode waits a 503 out; at a 500, as of a SuperLink that is ending, it gives up
            # for good, and its process stays.
            return PlainTextResponse("the SuperLink failed", 503)
        headers = {k: v for k, v in answer.headers.items() if k not in NOT_ANSWERED}
        return Response(answer.content, answer.status_code, headers)

    async def _ask(self, request: Request, body: bytes) -> httpx.Response:
        headers = {k: v for k, v in request.headers.items() if k not in NOT_ASKED}
        return await self.upstream.post(request.url.path, content=body, headers=headers)

    async def _hold(self, request: Request, body: bytes, answer: httpx.Response) -> httpx.Response:
        """Ask again until there is a message, or the asker has waited long enough or is gone."""
        end, pause = time.monotonic() + HOLD, Backoff()
        while self._is_held(answer) and time.monotonic() < end:
            await asyncio.sleep(pause.delay())
            if await request.is_disconnected():
                break
            answer = await self._ask(request, body)
        return answer

    def _is_held(self, answer: httpx.Response) -> bool:
        return answer.status_code == 200 and self.is_empty(answer.content)


async def read_body(request: Request) -> bytes | None:
    """The body of a request, or None if it is larger than any that a site sends."""
    if int(request.headers.get("content-length") or 0) > LARGEST:
        return None
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST:
            return None
    return bytes(body)


def proxy_app(port: int, ca: Path) -> Starlette:
    """The proxy before the SuperLink on this machine's `port`."""
    client = httpx.AsyncClient(
        base_url=f"https://127.0.0.1:{port}",
        verify=ssl.create_default_context(cafile=str(ca)),
        timeout=30.0,
        limits=httpx.Limits(max_connections=None),
    )
    proxy = FleetProxy(client, fleet_internals.holds_no_message if holds() else never)

    @asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    return Starlette(routes=routes(proxy), lifespan=life)


def holds() -> bool:
    """Whether a question for messages is held until there is one."""
    otherwise = "a site without work asks every 3 s, so a message waits for up to 3 s"
    return is_tested("flwr", fleet_internals.FLOWER_VERSIONS, otherwise)


def routes(proxy: FleetProxy) -> list[Route]:
    """All paths that the proxy serves."""
    fleet = [Route(f"/v1/fleet/{name}", proxy.fleet, methods=["POST"]) for name in FLEET]
    return [Route("/health", proxy.health), *fleet]
