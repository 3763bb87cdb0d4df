"""Which keys a coordinator takes: new ones, of hospitals that it invited."""

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fl.util.errors import FederationError
from server.deploy import __main__ as deploy
from server.deploy import admission
from server.deploy.federation_store import FederationFolder, NodeState


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "federation"
    assert deploy.main(["init", str(path), "--host", "ecg.example.org"]) == 0
    for site in ("a", "b"):
        assert deploy.main(["invite", str(path), site]) == 0
    return FederationFolder(path)


@pytest.fixture
def superlink(monkeypatch):
    """A SuperLink that gives numbers to nodes, and forgets none."""
    nodes = {}

    def ask_flower(folder, *order):
        if order[1] == "register":
            nodes[len(nodes) + 7] = "registered"
            return {"success": True, "node-id": len(nodes) + 6}
        nodes[int(order[2])] = "unregistered"
        return {"success": True}

    monkeypatch.setattr(admission, "ask_flower", ask_flower)
    monkeypatch.setattr(
        admission,
        "list_nodes",
        lambda folder: [NodeState(node=n, status=s, seen=0.0) for n, s in nodes.items()],
    )
    return nodes


@pytest.fixture
def key(tmp_path):
    """Writes the public key of a site; another seed is another key."""

    def write(site, seed=1):
        public = ec.derive_private_key(seed, ec.SECP384R1()).public_key()
        text = public.public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        path = tmp_path / f"{site}-{seed}.pub"
        path.write_bytes(text + f" {site}\n".encode())
        return str(path)

    return write


def approve(folder, path):
    return deploy.main(["approve", str(folder.path), path])


def test_an_invited_site_with_a_new_key_is_admitted(folder, superlink, key, capsys):
    assert approve(folder, key("a")) == 0
    assert folder.approved() == {"a": 7}
    assert "a: SHA256:" in capsys.readouterr().out


def test_a_site_that_was_not_invited_is_not(folder, superlink, key, capsys):
    assert approve(folder, key("c")) == 2
    assert "c: was not invited" in capsys.readouterr().err


def test_a_second_key_is_taken_after_the_first_was_revoked(folder, superlink, key, capsys):
    assert approve(folder, key("a", 1)) == 0
    assert approve(folder, key("a", 2)) == 2
    assert "is approved already" in capsys.readouterr().err
    assert deploy.main(["revoke", str(folder.path), "a"]) == 0
    assert approve(folder, key("a", 2)) == 0
    assert folder.approved() == {"a": 8}


@pytest.mark.parametrize("between", [(), (2,)])
def test_a_revoked_key_is_never_taken_again(folder, superlink, key, capsys, between):
    for seed in (1, *between):
        assert approve(folder, key("a", seed)) == 0
        assert deploy.main(["revoke", str(folder.path), "a"]) == 0
    assert approve(folder, key("a", 1)) == 2
    assert "a: this key was revoked" in capsys.readouterr().err


def test_a_key_of_another_site_is_not_taken(folder, superlink, key, capsys):
    assert approve(folder, key("a", 1)) == 0
    assert approve(folder, key("b", 1)) == 2
    assert "is another site's" in capsys.readouterr().err


def test_a_superlink_with_a_new_database_is_told_of_the_same_key_again(folder, superlink, key):
    assert approve(folder, key("a")) == 0
    superlink.clear()
    assert approve(folder, key("a")) == 0


def test_an_answer_without_a_number_is_an_error(folder, monkeypatch, key, capsys):
    monkeypatch.setattr(admission, "ask_flower", lambda *_: {"success": True})
    assert approve(folder, key("a")) == 1
    assert "the SuperLink did not take the key of a" in capsys.readouterr().err
    assert folder.approved() == {}


def test_nothing_is_asked_or_noted_when_only_the_command_is_shown(folder, key, capsys, monkeypatch):
    def fail(*_):
        raise FederationError("asked")

    monkeypatch.setattr(admission, "ask_flower", fail)
    assert deploy.main(["approve", str(folder.path), key("a"), "--print"]) == 0
    assert "flwr supernode register" in capsys.readouterr().out
    assert folder.sites() == {}
