"""A hospital in a secure sum knows the others by keys that they handed over, and by no other."""

from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from clients.deploy.__main__ import main
from clients.secure_keys import PEERS, hospital_keyring, peers_of
from clients.secure_steps import answer_step
from clients.simulated_sites import open_site
from fl.messages.flower_arrays import to_array_record
from fl.messages.flower_secure_codec import (
    SecureReply,
    SecureRequest,
    check_secure_egress,
    masked_reply,
    secure_step_reply,
    secure_step_request,
)
from fl.messages.invitation import Invitation
from fl.privacy.egress_policy import EgressError, reason_for
from fl.privacy.secure_aggregation.errors import ProtocolViolationError
from fl.privacy.secure_aggregation.round_keys import new_identity
from server.engines.grid_internals import identify_server


@pytest.fixture(autouse=True)
def _in_a_run():
    identify_server()


SITES = ("site-1", "site-2", "site-3")
CONTEXT = "run/0/fedavg/1"


def public_file(path, key, name):
    text = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text + f" {name}\n".encode())
    return path


@pytest.fixture
def hospitals(tmp_path, make_job):
    """Three hospitals that know each other: their sites, keyrings and keys."""
    job = make_job(3)
    keys = {name: new_identity() for name in SITES}
    found = {}
    for number, name in enumerate(SITES):
        folder = tmp_path / name
        for other in set(SITES) - {name}:
            public_file(folder / PEERS / f"{other}.pub", keys[other], other)
        site = replace(open_site(job, number), folder=folder / "runs")
        found[name] = site, hospital_keyring(folder, name, keys[name], fewest=3)
    return job, found


def announced(job, hospitals):
    asked = SecureRequest(context=CONTEXT, step="keys")
    return {name: answer_step(site, job, asked, keys) for name, (site, keys) in hospitals.items()}


def test_hospitals_that_handed_over_their_keys_share_their_secrets(hospitals):
    job, found = hospitals
    first = announced(job, found)
    assert all(reply.identity == b"" for reply in first.values())
    asked = SecureRequest(
        context=CONTEXT,
        step="letters",
        announced={name: reply.announced for name, reply in first.items()},
    )
    for name, (site, keys) in found.items():
        reply = answer_step(site, job, asked, keys)
        assert reply.letters.keys() == set(SITES) - {name}


def test_a_coordinator_cannot_name_a_key_of_its_own(hospitals):
    """Even if it names the key, and signs with it: a hospital looks at its own files."""
    job, found = hospitals
    first = announced(job, found)
    stranger = new_identity()
    site, _ = found["site-2"]
    forged = answer_step(
        site,
        job,
        SecureRequest(context=CONTEXT, step="keys"),
        hospital_keyring(site.folder, "site-2", stranger, fewest=3),
    )
    asked = SecureRequest(
        context=CONTEXT,
        step="letters",
        announced={n: r.announced for n, r in first.items()} | {"site-2": forged.announced},
        identities={"site-2": b"-----BEGIN PUBLIC KEY-----"},
    )
    site, keys = found["site-1"]
    with pytest.raises(ProtocolViolationError, match="what site-2 signed") as error:
        answer_step(site, job, asked, keys)
    assert reason_for(error.value) == "it refuses a step of the secure sum; its own log says why"


def test_a_hospital_whose_key_was_not_handed_over_is_refused(hospitals, tmp_path):
    job, found = hospitals
    first = announced(job, found)
    (tmp_path / "site-1" / PEERS / "site-3.pub").unlink()
    asked = SecureRequest(
        context=CONTEXT, step="letters", announced={n: r.announced for n, r in first.items()}
    )
    site, keys = found["site-1"]
    with pytest.raises(ProtocolViolationError, match="site-3 is no site whose key is known"):
        answer_step(site, job, asked, keys)


def test_a_sum_of_fewer_hospitals_than_the_policy_wants_is_refused(hospitals):
    job, found = hospitals
    first = announced(job, found)
    asked = SecureRequest(
        context=CONTEXT, step="letters", announced={n: r.announced for n, r in first.items()}
    )
    site, keys = found["site-1"]
    with pytest.raises(ProtocolViolationError, match="3 sites take part, fewer than 4"):
        answer_step(site, job, asked, replace(keys, fewest=4))


def invitation(tmp_path):
    path = tmp_path / "site-1.toml"
    made = Invitation(
        federation="f", site="site-1", address="localhost:1", task="rhythm", ca="-----BEGIN\n"
    )
    made.write(path)
    return path


def test_trust_keeps_the_keys_and_shows_their_fingerprints(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keys = [public_file(tmp_path / f"from-{n}.pub", new_identity(), n) for n in SITES[1:]]
    words = ["trust", str(invitation(tmp_path)), "--site", "site-1", *map(str, keys)]
    assert main(words) == 0
    output = capsys.readouterr().out
    assert output.count("SHA256:") == 2
    assert peers_of(tmp_path / "heartfed-site-1").keys() == {"site-2", "site-3"}


@pytest.mark.parametrize("content", [b"", b"ssh-rsa AAAA me\n", b"\xff\xfe", b"own"])
def test_trust_refuses_what_is_no_other_hospitals_key(tmp_path, capsys, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "key.pub"
    if content == b"own":
        public_file(path, new_identity(), "site-1")
    else:
        path.write_bytes(content)
    assert main(["trust", str(invitation(tmp_path)), "--site", "site-1", str(path)]) == 2
    assert "key.pub: is" in capsys.readouterr().err
    assert not (tmp_path / "heartfed-site-1" / PEERS).exists()


def request(job, step):
    asked = SecureRequest(context=CONTEXT, step=step)
    return secure_step_request(job, 1, 1, asked)


def letters(**by_site):
    return SecureReply(site="site-1", letters={k.replace("_", "-"): v for k, v in by_site.items()})


@pytest.mark.parametrize(
    ("step", "reply"),
    [
        ("letters", letters(site_2=b"x" * 93)),
        ("letters", letters(site_2=b"")),
        ("reveal", letters(site_2=b"x" * 92)),
        ("letters", letters(**{"Ann Example": b"x" * 92})),
        ("letters", SecureReply(site="site-1", signature=b"x")),
        ("confirm", SecureReply(site="site-1", signature=b"x" * 500)),
        ("keys", SecureReply(site="site-1", sources=("record 100 of Ann",))),
        ("keys", SecureReply(site="site-1", identity=b"anything")),
        ("confirm", SecureReply(site="Ann Example", signature=b"x")),
    ],
)
def test_what_is_no_answer_to_a_step_does_not_leave(make_job, step, reply):
    asked = request(make_job(3), step)
    with pytest.raises(EgressError):
        check_secure_egress(secure_step_reply(reply, asked), asked)


def test_an_honest_answer_leaves(make_job):
    job = make_job(3)
    asked = request(job, "letters")
    check_secure_egress(secure_step_reply(letters(site_2=b"x" * 92), asked), asked)
    asked = request(job, "vector")
    check_secure_egress(masked_reply("site-1", np.zeros(4, np.int64), asked), asked)


@pytest.mark.parametrize(
    "content",
    [
        {"arrays": to_array_record({"masked": np.zeros(4)})},
        {"arrays": to_array_record({"masked": np.zeros((2, 2), np.int64)})},
        {"arrays": to_array_record({"weights": np.zeros(4, np.int64)})},
        {"arrays": ArrayRecord()},
        {"metrics": MetricRecord({"num-examples": 3})},
        {"config": ConfigRecord({"site": "site-1", "note": "Ann"})},
    ],
)
def test_a_vector_with_anything_beside_it_does_not_leave(make_job, content):
    asked = request(make_job(3), "vector")
    reply = masked_reply("site-1", np.zeros(4, np.int64), asked)
    kept = {name: record for name, record in reply.content.items() if name not in content}
    changed = Message(RecordDict(kept | content), reply_to=asked)
    with pytest.raises(EgressError):
        check_secure_egress(changed, asked)
