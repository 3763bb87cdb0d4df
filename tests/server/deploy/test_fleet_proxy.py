"""The gate passes what a SuperNode needs, holds a question for messages, and stops the rest."""

import asyncio
import time

import httpx
import pytest
from flwr.proto.fleet_pb2 import PullMessagesResponse
from flwr.proto.message_pb2 import Message
from starlette.applications import Starlette

from fl.util.polling import Backoff
from server.deploy import fleet_proxy as gates
from server.deploy.fleet_proxy import FLEET, PULL, FleetProxy


class SuperLink(httpx.AsyncBaseTransport):
    """One that has a message from the n-th question on."""

    def __init__(self, silent=0, down=False, status=200):
        self.asked, self.silent, self.down, self.status = [], silent, down, status

    async def handle_async_request(self, request):
        if self.down:
            raise httpx.ConnectError("away")
        self.asked.append((request.url.path, dict(request.headers), await request.aread()))
        here = [Message()] if len(self.asked) > self.silent else []
        return httpx.Response(
            self.status, content=PullMessagesResponse(messages_list=here).SerializeToString()
        )


def ask(superlink, path, method="POST", **given):
    """The gate's answer, with this SuperLink behind it."""

    async def asked():
        upstream = httpx.AsyncClient(base_url="https://127.0.0.1:1", transport=superlink)
        app = Starlette(routes=gates.routes(FleetProxy(upstream)))
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="https://gate"
        ) as client:
            return await client.request(method, path, **given)

    return asyncio.run(asked())


@pytest.mark.parametrize("name", FLEET)
def test_the_fleet_api_is_passed_on_as_it_is(name):
    superlink = SuperLink()
    headers = {"flwr-timestamp": "now"}
    answer = ask(superlink, f"/v1/fleet/{name}", content=b"body", headers=headers)
    assert answer.status_code == 200
    ((path, headers, body),) = superlink.asked
    assert (path, body, headers["flwr-timestamp"]) == (f"/v1/fleet/{name}", b"body", "now")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/control/start-run",
        "/v1/control/register-node",
        "/v1/runtime/acquire-task",
        "/v1/fleet/register-node",
        "/v1/fleet/../control/start-run",
        "/docs",
        "/",
    ],
)
def test_nothing_else_is(path):
    superlink = SuperLink()
    assert ask(superlink, path).status_code in (404, 405)
    assert superlink.asked == []


def test_a_question_for_messages_is_held_until_there_is_one():
    superlink = SuperLink(silent=4)
    answer = ask(superlink, PULL)
    assert PullMessagesResponse.FromString(answer.content).messages_list
    assert len(superlink.asked) == 5


def test_but_not_for_ever(monkeypatch):
    monkeypatch.setattr(gates, "HOLD", 0.3)
    began = time.monotonic()
    answer = ask(SuperLink(silent=1000), PULL)
    assert not PullMessagesResponse.FromString(answer.content).messages_list
    assert 0.3 <= time.monotonic() - began < 20


def test_a_superlink_that_is_away_is_a_503_which_supernodes_wait_out():
    assert ask(SuperLink(down=True), "/v1/fleet/get-run").status_code == 503
    assert ask(SuperLink(down=True), "/health", "GET").status_code == 503


def test_a_superlink_that_fails_is_a_503_too():
    assert ask(SuperLink(status=500), PULL).status_code == 503
    assert ask(SuperLink(status=401), PULL).status_code == 401


def test_pauses_grow_with_the_time_waited():
    backoff = Backoff(began=time.monotonic() - 10)
    assert backoff.delay() == pytest.approx(0.5, abs=0.1)
    assert Backoff(began=time.monotonic() - 1000).delay() == 1.0
    backoff.reset()
    assert backoff.delay() == pytest.approx(0.05)
