"""A stranger at the coordinator's port: each test is named after what it tries, and fails to do."""

import asyncio
import base64
import datetime
import time
from types import SimpleNamespace

import httpx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
from starlette.applications import Starlette

from fl.messages.invitation import fingerprint
from server.deploy import fleet_proxy
from server.deploy.federation_store import FederationFolder
from server.deploy.fleet_proxy import FleetProxy, signed_by
from server.deploy.proxy import request_signatures
from server.deploy.proxy.fleet_internals import KEY, SIGNATURE, SIGNED_AT
from server.deploy.proxy.request_signatures import ApprovedKeys, UsedSignatures, signer

PUSH = "/v1/fleet/push-object"
SITE, STRANGER = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP384R1())
NO_EC_KEY = rsa.generate_private_key(65537, 1024)


def name_of(key):
    form = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    return fingerprint(key.public_key().public_bytes(*form))


def head(key=SITE, seconds=0.0, signed_with=None, **changed):
    """The headers of a request that was signed so many seconds ago."""
    at = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds)
    form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    signed = (signed_with or SITE if key is NO_EC_KEY else signed_with or key).sign(
        at.isoformat().encode(), ec.ECDSA(hashes.SHA256())
    )
    return {
        KEY: base64.b64encode(key.public_key().public_bytes(*form)).decode(),
        SIGNED_AT: at.isoformat(),
        SIGNATURE: base64.b64encode(signed).decode(),
    } | changed


class Parts:
    """A chunked body, with how many of its parts were taken."""

    def __init__(self, part=b"x" * 100, number=1000, pause=0.0):
        self.part, self.number, self.pause, self.taken = part, number, pause, 0

    async def __aiter__(self):
        for _ in range(self.number):
            if self.pause:
                await asyncio.sleep(self.pause)
            self.taken += 1
            yield self.part


def ask(*requests, path=PUSH):
    """The status of each request, sent one after another, and the bodies that went further."""
    passed = []

    async def superlink(request):
        passed.append(await request.aread())
        return httpx.Response(200)

    async def asked():
        upstream = httpx.AsyncClient(
            base_url="https://127.0.0.1:1", transport=httpx.MockTransport(superlink)
        )
        permitted = signed_by({name_of(SITE)})
        app = Starlette(routes=fleet_proxy.routes(FleetProxy(upstream, permitted=permitted)))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="https://proxy") as client:
            return [
                (await client.post(path, headers=headers, content=content)).status_code
                for headers, content in requests
            ]

    return asyncio.run(asked()), passed


def test_a_site_is_served():
    assert ask((head(), b"body")) == ([200], [b"body"])


def test_flowers_own_signature_is_known():
    request = httpx.Request("POST", "https://coordinator")
    interceptor = NodeAuthHttpInterceptor(SITE, SITE.public_key())
    interceptor.intercept(SimpleNamespace(request=request), lambda context: None)
    assert signer(request.headers, UsedSignatures()) == name_of(SITE)


UNSIGNED = {  # made within the test: a signature is valid for minutes only
    "no headers": dict,
    "no signature": lambda: head() | {SIGNATURE: ""},
    "another's signature": lambda: head(signed_with=STRANGER),
    "too old": lambda: head(seconds=310),
    "of the future": lambda: head(seconds=-60),
    "no time zone": lambda: head() | {SIGNED_AT: "2026-01-01T00:00:00"},
    "no time": lambda: head() | {SIGNED_AT: "9" * 100},
    "another time": lambda: head() | {SIGNED_AT: head()[SIGNED_AT]},
    "no base64": lambda: head() | {KEY: "no base64"},
    "no key": lambda: head() | {KEY: base64.b64encode(b"no key").decode()},
    "too long": lambda: head() | {KEY: "A" * 10_000},
    "RSA": lambda: head(NO_EC_KEY),
}


@pytest.mark.parametrize("make", UNSIGNED.values(), ids=UNSIGNED)
def test_without_a_valid_signature_no_byte_of_a_body_is_read(make):
    body = Parts()
    assert ask((make(), body)) == ([401], [])
    assert body.taken == 0


def test_a_request_that_is_sent_again_is_refused():
    first = head()
    assert ask((first, b"1"), (first, b"2"), (head(), b"3")) == ([200, 401, 200], [b"1", b"3"])


def test_what_is_passed_on_is_what_was_checked():
    passed = []

    async def superlink(request):
        passed.append(request.headers)
        return httpx.Response(200)

    async def asked():
        upstream = httpx.AsyncClient(
            base_url="https://127.0.0.1:1", transport=httpx.MockTransport(superlink)
        )
        proxy = FleetProxy(upstream, permitted=signed_by(set()))
        transport = httpx.ASGITransport(Starlette(routes=fleet_proxy.routes(proxy)))
        async with httpx.AsyncClient(transport=transport, base_url="https://proxy") as client:
            return await client.post(PUSH, headers=[*own.items(), *head().items()])

    own = head(STRANGER)
    assert asyncio.run(asked()).status_code == 200
    assert {name: passed[0].get_list(name) for name in own} == {k: [v] for k, v in own.items()}


def test_the_other_form_of_the_same_signature_is_refused():
    first = head()
    r, s = decode_dss_signature(base64.b64decode(first[SIGNATURE]))
    order = int(
        "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
        16,
    )
    other = base64.b64encode(encode_dss_signature(r, order - s)).decode()
    assert signer(first | {SIGNATURE: other}, UsedSignatures()) == name_of(SITE)  # it is valid
    assert ask((first, b"1"), (first | {SIGNATURE: other}, b"2")) == ([200, 401], [b"1"])


def test_signatures_are_forgotten_once_they_are_no_longer_valid(monkeypatch):
    used, now = UsedSignatures(), [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr(request_signatures, "time", clock)
    signature = SITE.sign(b"x", ec.ECDSA(hashes.SHA256()))
    assert used.take("k", "t", signature)
    assert not used.take("k", "t", signature)
    now[0] = 311.0
    assert used.take("k", "t", signature)


def test_a_key_that_is_not_approved_may_ask_in_few_bytes_alone(monkeypatch):
    monkeypatch.setattr(fleet_proxy, "SMALL", 300)
    body = Parts()
    found, passed = ask((head(STRANGER), b"x" * 300), (head(STRANGER), body))
    assert (found, passed) == ([200, 413], [b"x" * 300])
    assert body.taken == 4


def test_a_chunked_body_of_too_many_bytes_is_counted_while_it_is_read(monkeypatch):
    monkeypatch.setattr(fleet_proxy, "LARGEST", 1000)
    body = Parts()
    assert ask((head(), body)) == ([413], [])
    assert body.taken == 11


@pytest.mark.parametrize("length", ["1001", "9" * 19])
def test_a_length_that_is_too_large_is_refused_before_the_body(monkeypatch, length):
    monkeypatch.setattr(fleet_proxy, "LARGEST", 1000)
    body = Parts()
    assert ask((head(**{"content-length": length}), body)) == ([413], [])
    assert body.taken == 0


@pytest.mark.parametrize("length", ["-1", "x", "9" * 5000, "1e3"])
def test_a_length_that_is_none_counts_for_nothing(monkeypatch, length):
    monkeypatch.setattr(fleet_proxy, "LARGEST", 1000)
    assert ask((head(**{"content-length": length}), Parts())) == ([413], [])


def test_a_body_that_stops_is_given_up(monkeypatch):
    monkeypatch.setattr(fleet_proxy, "PAUSE", 0.1)
    began = time.monotonic()
    assert ask((head(), Parts(pause=60.0))) == ([408], [])
    assert time.monotonic() - began < 10


def test_a_body_that_drips_is_given_up(monkeypatch):
    monkeypatch.setattr(fleet_proxy, "SLACK", 0.2)
    body = Parts(b"x", number=100_000, pause=0.01)
    assert ask((head(), body)) == ([408], [])
    assert 1 < body.taken < 1000


def test_a_long_body_may_take_longer_than_a_short_one(monkeypatch):
    monkeypatch.setattr(fleet_proxy, "SLACK", 0.2)
    monkeypatch.setattr(fleet_proxy, "SLOWEST", 1000)
    found, passed = ask((head(), Parts(b"x" * 500, number=20, pause=0.03)))
    assert (found, len(passed[0])) == ([200], 10_000)


def test_approvals_and_revocations_are_followed_at_once(tmp_path):
    folder = FederationFolder(tmp_path)
    (tmp_path / "sites").mkdir()
    keys = ApprovedKeys(folder)
    assert "k1" not in keys
    folder.note_site("a", node=1, revoked="", keys=["k1"])
    assert "k1" in keys
    folder.note_site("a", revoked="2026-01-01")
    assert "k1" not in keys
    (tmp_path / "sites" / "b.json").write_text("{")
    assert "k1" not in keys
