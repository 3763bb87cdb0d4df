"""The proxy passes what a SuperNode needs, holds a question for messages, and stops the rest."""

import asyncio
import gzip
import time

import httpx
import pytest
from flwr.proto.fleet_pb2 import PullMessagesResponse
from flwr.proto.message_pb2 import Message
from starlette.applications import Starlette

from fl.util import tested_versions
from fl.util.polling import Backoff
from server.deploy import fleet_proxy
from server.deploy.federation_store import FederationSettings, make_federation
from server.deploy.fleet_proxy import FLEET, PULL, FleetProxy, never, proxy_app
from server.deploy.proxy.fleet_internals import holds_no_message


class SuperLink(httpx.AsyncBaseTransport):
    """One that has a message from the n-th question on."""

    def __init__(self, silent=0, down=False, status=200, encoded=False):
        self.asked, self.silent, self.down, self.status = [], silent, down, status
        self.encoded = encoded

    async def handle_async_request(self, request):
        if self.down:
            raise httpx.ConnectError("away")
        self.asked.append((request.url.path, dict(request.headers), await request.aread()))
        messages = [Message()] if len(self.asked) > self.silent else []
        content = PullMessagesResponse(messages_list=messages).SerializeToString()
        if self.encoded:
            headers = {"content-encoding": "gzip", "flwr-kept": "yes"}
            return httpx.Response(self.status, content=gzip.compress(content), headers=headers)
        return httpx.Response(self.status, content=content)


def ask(superlink, path, method="POST", is_empty=holds_no_message, **request):
    """The proxy's answer, with this SuperLink behind it."""

    async def asked():
        upstream = httpx.AsyncClient(base_url="https://127.0.0.1:1", transport=superlink)
        app = Starlette(routes=fleet_proxy.routes(FleetProxy(upstream, is_empty)))
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="https://proxy"
        ) as client:
            return await client.request(method, path, **request)

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


def test_without_our_knowledge_of_flower_a_question_is_passed_on_once():
    superlink = SuperLink(silent=4)
    answer = ask(superlink, PULL, is_empty=never)
    assert not PullMessagesResponse.FromString(answer.content).messages_list
    assert len(superlink.asked) == 1


@pytest.mark.parametrize(("version", "held"), [("1.41.0", True), ("1.42.0", False)])
def test_questions_are_held_with_the_tested_version_alone(monkeypatch, capsys, version, held):
    monkeypatch.setattr(tested_versions, "installed_version", lambda _: version)
    monkeypatch.setenv(tested_versions._REPORTED, "")
    assert fleet_proxy.is_known() == held
    assert len(capsys.readouterr().err.splitlines()) == (not held)


def test_the_app_can_be_made_with_any_version(monkeypatch, tmp_path):
    where = {"hosts": ("localhost",), "listen": "127.0.0.1", "port": 2, "superlink_port": 1}
    folder = make_federation(tmp_path / "f", FederationSettings(name="f", task="rhythm", **where))
    for public_only in ("", "1"):
        monkeypatch.setenv(tested_versions.PUBLIC_ONLY, public_only)
        assert len(proxy_app(folder).routes) == 1 + len(FLEET)


@pytest.mark.parametrize(
    ("content", "empty"),
    [
        (b"", True),
        (PullMessagesResponse(messages_list=[Message()]).SerializeToString(), False),
        (b"\xff no answer of a SuperLink", False),
    ],
)
def test_an_answer_without_messages_is_known(content, empty):
    assert holds_no_message(content) == empty


def test_an_encoded_answer_is_passed_on_decoded():
    superlink = SuperLink(encoded=True)
    answer = ask(superlink, PULL)
    assert PullMessagesResponse.FromString(answer.content).messages_list
    assert "content-encoding" not in answer.headers
    assert answer.headers["flwr-kept"] == "yes"


def test_the_superlink_is_asked_only_for_encodings_that_the_proxy_can_decode():
    superlink = SuperLink()
    ask(superlink, PULL, headers={"accept-encoding": "unknown"})
    assert superlink.asked[0][1]["accept-encoding"] != "unknown"


@pytest.mark.parametrize("announced", [True, False])
def test_a_request_that_is_too_large_is_refused(monkeypatch, announced):
    monkeypatch.setattr(fleet_proxy, "LARGEST", 1000)

    async def parts():
        for _ in range(3):
            yield b"x" * 400

    superlink = SuperLink()
    body = b"x" * 1200 if announced else parts()
    assert ask(superlink, "/v1/fleet/push-object", content=body).status_code == 413
    assert superlink.asked == []


def test_but_not_for_ever(monkeypatch):
    monkeypatch.setattr(fleet_proxy, "HOLD", 0.3)
    began = time.monotonic()
    answer = ask(SuperLink(silent=1000), PULL)
    assert not PullMessagesResponse.FromString(answer.content).messages_list
    assert 0.3 <= time.monotonic() - began < 20


def test_a_superlink_that_answers_at_all_is_well():
    assert ask(SuperLink(status=404), "/health", "GET").status_code == 200
    assert ask(SuperLink(status=500), "/health", "GET").status_code == 503


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
