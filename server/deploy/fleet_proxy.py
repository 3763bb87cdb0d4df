"""The coordinator's door to the hospitals: what a SuperNode needs passes, nothing else does.

A SuperLink serves everything on one port, and anyone who reaches it may register nodes, start
programmes and stop runs. So it listens on loopback alone, and this stands before it: TLS, the
paths of Flower's Fleet API, and 404 for the rest. Node keys are still checked by the SuperLink.

A SuperNode asks for messages, and if there are none sleeps three seconds. The gate asks for it
again and again for a while before it says that there are none, so that a message that comes in
the meantime does not wait.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from flwr.proto.fleet_pb2 import PullMessagesResponse
from google.protobuf.message import DecodeError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fl.util.polling import Backoff

FLEET = (
    *("activate-node", "deactivate-node", "send-node-heartbeat", "get-run", "get-fab"),
    *("pull-messages", "push-messages", "pull-object", "push-object", "confirm-message-received"),
)
PULL = "/v1/fleet/pull-messages"
HOLD = 20.0  # seconds a question for messages is held; a SuperNode gives up after 30
LARGEST = 256 * 2**20  # bytes of a request; the largest network here sends a tenth of it
NOT_PASSED_ON = {"host", "content-length", "transfer-encoding", "connection"}


@dataclass(frozen=True)
class FleetProxy:
    """Passes the Fleet API on to the SuperLink at `upstream`."""

    upstream: httpx.AsyncClient

    async def health(self, request: Request) -> Response:
        """200 if the SuperLink behind the gate is well."""
        try:
            answer = await self.upstream.get("/health")
        except httpx.HTTPError:
            return PlainTextResponse("the SuperLink does not answer", 503)
        return PlainTextResponse("well", answer.status_code)

    async def fleet(self, request: Request) -> Response:
        """One request of a SuperNode."""
        if int(request.headers.get("content-length") or 0) > LARGEST:
            return PlainTextResponse("too large", 413)
        body = await request.body()
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
        headers = {k: v for k, v in answer.headers.items() if k not in NOT_PASSED_ON}
        return Response(answer.content, answer.status_code, headers)

    async def _ask(self, request: Request, body: bytes) -> httpx.Response:
        headers = {k: v for k, v in request.headers.items() if k not in NOT_PASSED_ON}
        return await self.upstream.post(request.url.path, content=body, headers=headers)

    async def _hold(self, request: Request, body: bytes, answer: httpx.Response) -> httpx.Response:
        """Ask again until there is a message, or the asker has waited long enough or is gone."""
        end, pace = time.monotonic() + HOLD, Backoff()
        while nothing_in(answer) and time.monotonic() < end:
            await asyncio.sleep(pace.delay())
            if await request.is_disconnected():
                break
            answer = await self._ask(request, body)
        return answer


def nothing_in(answer: httpx.Response) -> bool:
    """Whether the SuperLink said that there is no message."""
    if answer.status_code != 200:
        return False
    try:
        return not PullMessagesResponse.FromString(answer.content).messages_list
    except DecodeError:
        return False


def proxy_app(port: int, ca: Path) -> Starlette:
    """The gate before the SuperLink on this machine's `port`."""
    client = httpx.AsyncClient(
        base_url=f"https://127.0.0.1:{port}",
        verify=ssl.create_default_context(cafile=str(ca)),
        timeout=30.0,
        limits=httpx.Limits(max_connections=None),
    )
    gate = FleetProxy(client)

    @asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    return Starlette(routes=routes(gate), lifespan=life)


def routes(gate: FleetProxy) -> list[Route]:
    """All that there is."""
    fleet = [Route(f"/v1/fleet/{name}", gate.fleet, methods=["POST"]) for name in FLEET]
    return [Route("/health", gate.health), *fleet]
