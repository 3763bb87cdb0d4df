"""The reverse proxy before the SuperLink: it passes what a SuperNode needs, and nothing else.

A SuperLink serves everything on one port, and whoever reaches it may register nodes, start
programs and stop runs. So it listens on loopback alone, and this stands before it: TLS, the paths
of Flower's Fleet API, and 404 for the rest. The SuperLink still checks the keys of the nodes.

A SuperNode asks for messages, and if there are none sleeps three seconds. With the tested versions
of Flower the proxy asks the SuperLink again and again for a while before it answers that there are
none, so that a message that comes in the meantime does not wait. With these versions it also
checks who signed a request before it reads the body (`server.deploy.proxy.request_signatures`).
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Container, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from fl.util.polling import Backoff
from fl.util.tested_versions import is_tested
from server.deploy.audit.refused_requests import RefusedRequests
from server.deploy.federation_store import FederationFolder
from server.deploy.proxy import fleet_internals
from server.deploy.proxy.request_signatures import ApprovedKeys, UsedSignatures, signer

FLEET = (
    *("activate-node", "deactivate-node", "send-node-heartbeat", "get-run", "get-fab"),
    *("pull-messages", "push-messages", "pull-object", "push-object", "confirm-message-received"),
)
PULL = "/v1/fleet/pull-messages"
HOLD = 20.0  # seconds a question for messages is held; a SuperNode gives up after 30
LARGEST = 256 * 2**20  # bytes of a request; the largest network here sends a tenth of it
SMALL = 64 * 2**10  # bytes of a request by a key that is not approved; to ask takes a few hundred
PAUSE = 20.0  # seconds between two parts of a body
SLACK, SLOWEST = 30.0, 32 * 2**10  # a body takes at most so many seconds, and one for so many bytes
OF_THE_CONNECTION = {"host", "content-length", "transfer-encoding", "connection"}
# httpx asks the SuperLink for the encodings that it knows, and decodes the answer: the body that
# is passed on is no longer what content-encoding says.
NOT_ASKED = OF_THE_CONNECTION | {"accept-encoding"}
NOT_ANSWERED = OF_THE_CONNECTION | {"content-encoding"}


def never(content: bytes) -> bool:
    """No answer is held: with an untested version of Flower it is not known which to hold."""
    return False


def anybody(headers: Mapping[str, str]) -> int:
    """No signature is checked: with an untested version of Flower its form is not known."""
    return LARGEST


class BodyRefused(Exception):
    """A body that is not taken, with the HTTP status that says why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class FleetProxy:
    """Passes the Fleet API on to the SuperLink at `upstream`.

    `is_empty`: whether an answer to a question for messages holds none, so that it is held.
    `permitted`: how many bytes of a body are read after a head; 0 if it is not validly signed.
    """

    upstream: httpx.AsyncClient
    is_empty: Callable[[bytes], bool] = never
    permitted: Callable[[Mapping[str, str]], int] = anybody
    refusals: RefusedRequests = field(default_factory=RefusedRequests)

    async def health(self, request: Request) -> Response:
        """200 if the SuperLink behind the proxy answers."""
        try:
            answer = await self.upstream.get("/health")
        except httpx.HTTPError:
            return PlainTextResponse("the SuperLink does not answer", 503)
        return PlainTextResponse("well", 503 if answer.status_code >= 500 else 200)

    async def fleet(self, request: Request) -> Response:
        """One request of a SuperNode."""
        most = self.permitted(request.headers)
        if not most:
            self.refusals.count("no valid signature")
            # As the SuperLink answers, for a SuperNode whose clock is wrong.
            answered = JSONResponse({"detail": "Invalid SuperNode authentication"}, 401)
            return refused(request, answered)
        if most == SMALL:  # the SuperLink will refuse it
            self.refusals.count("key not approved")
        try:
            body = await read_body(request, most)
        except BodyRefused as refusal:
            self.refusals.count(f"body {refusal}")
            return refused(request, PlainTextResponse(str(refusal), refusal.status))
        except ClientDisconnect:
            return PlainTextResponse("gone", 400)
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
        # Of a header that comes twice the first is passed on: it is the one that was checked.
        given = reversed(request.headers.items())
        headers = {k: v for k, v in given if k not in NOT_ASKED}
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


def announced(request: Request) -> int | None:
    """Bytes of a body as its head has them; None if the head does not."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdecimal() and len(length) < 20 else None


async def read_body(request: Request, most: int) -> bytes:
    """The body of a request; `BodyRefused` once it is larger or slower than any of a site.

    Bytes are counted as they come: a chunked body announces no length.
    """
    if (announced(request) or 0) > most:
        raise BodyRefused(413, "too large")
    body, began, parts = bytearray(), time.monotonic(), request.stream()
    while True:
        left = began + SLACK + len(body) / SLOWEST - time.monotonic()
        try:
            async with asyncio.timeout(max(min(PAUSE, left), 0.0)):
                part = await anext(parts, None)
        except TimeoutError:
            raise BodyRefused(408, "too slow") from None
        if part is None:
            return bytes(body)
        body += part
        if len(body) > most:
            raise BodyRefused(413, "too large")


def refused(request: Request, answer: Response) -> Response:
    """The answer to a request whose body is not read; what may still come of it is cut off.

    A small body that is on its way is let come: a SuperNode then surely sees the answer.
    """
    length = announced(request)
    if length is None or length > SMALL or answer.status_code == 408:
        answer.headers["connection"] = "close"
    return answer


def proxy_app(folder: FederationFolder) -> Starlette:
    """The proxy before the federation's SuperLink on this machine."""
    client = httpx.AsyncClient(
        base_url=f"https://127.0.0.1:{folder.settings().superlink_port}",
        verify=ssl.create_default_context(cafile=str(folder.ca)),
        timeout=30.0,
        trust_env=False,  # no proxy of the environment is on the way to this machine
        limits=httpx.Limits(max_connections=None),
    )
    if is_known():
        keys = ApprovedKeys(folder)
        proxy = FleetProxy(client, fleet_internals.holds_no_message, signed_by(keys))
    else:
        proxy = FleetProxy(client)

    @asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        async with client, proxy.refusals.noted_hourly(folder):
            yield

    return Starlette(routes=routes(proxy), lifespan=life)


def signed_by(keys: Container[str]) -> Callable[[Mapping[str, str]], int]:
    """How many bytes of a body are read: by whether one of these keys signed the head.

    A key that is not approved may still ask, in few bytes: the SuperLink answers it that it is
    not admitted, and its site shows that.
    """
    used = UsedSignatures()

    def permitted(headers: Mapping[str, str]) -> int:
        key = signer(headers, used)
        if key is None:
            return 0
        return LARGEST if key in keys else SMALL

    return permitted


def is_known() -> bool:
    """Whether this version of Flower was tested: its empty answers and its signatures."""
    otherwise = (
        "a site without work asks every 3 s, so a message waits for up to 3 s, and the SuperLink "
        "alone checks signatures, after it has read what was sent"
    )
    return is_tested("flwr", fleet_internals.FLOWER_VERSIONS, otherwise)


def routes(proxy: FleetProxy) -> list[Route]:
    """All paths that the proxy serves."""
    fleet = [Route(f"/v1/fleet/{name}", proxy.fleet, methods=["POST"]) for name in FLEET]
    return [Route("/health", proxy.health), *fleet]
