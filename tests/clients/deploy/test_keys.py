"""A site's key is made once, whole or not at all, and what an interruption left is repaired."""

import os
import stat

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from clients.deploy.keys import ensure_key, ensure_secret
from clients.deploy.site_folder import SiteFolder
from fl.messages.invitation import fingerprint
from fl.util.errors import ConfigError


@pytest.fixture
def folder(tmp_path):
    return SiteFolder(tmp_path, "a")


def pair_fits(folder):
    """Whether the public half belongs to the private key, and names the site."""
    key = serialization.load_ssh_private_key(folder.key.read_bytes(), None)
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return folder.public_key.read_bytes() == public + b" a\n"


def test_a_key_is_made_once_for_its_owner_alone(folder):
    assert ensure_key(folder)
    made = folder.key.read_bytes()
    assert not ensure_key(folder)
    assert folder.key.read_bytes() == made
    assert pair_fits(folder)
    assert stat.S_IMODE(folder.key.stat().st_mode) == 0o600


@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_a_key_that_was_written_in_part_is_made_again(folder, capsys, part):
    ensure_key(folder)
    whole = folder.key.read_bytes()
    folder.key.write_bytes(whole[: int(part * len(whole))])
    assert ensure_key(folder)
    assert "was incomplete" in capsys.readouterr().out
    assert folder.key.read_bytes() != whole
    assert pair_fits(folder)
    assert stat.S_IMODE(folder.key.stat().st_mode) == 0o600


@pytest.mark.parametrize("left", [None, b"", b"ecdsa-sha2-nistp384 AAAA", b"another key b\n"])
def test_a_public_half_that_is_missing_or_wrong_is_written_again(folder, left):
    ensure_key(folder)
    before = folder.key.read_bytes()
    folder.public_key.unlink()
    if left is not None:
        folder.public_key.write_bytes(left)
    assert not ensure_key(folder)
    assert folder.key.read_bytes() == before
    assert pair_fits(folder)
    assert fingerprint(folder.public_key.read_bytes()).startswith("SHA256:")


def test_an_interruption_while_the_key_is_written_leaves_no_part_of_it(folder, monkeypatch):
    def power_cut(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", power_cut)
        with pytest.raises(KeyboardInterrupt):
            ensure_key(folder)
    assert list(folder.path.iterdir()) == []
    assert ensure_key(folder)


def test_another_kind_of_key_is_not_replaced(folder):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    folder.key.write_bytes(text)
    with pytest.raises(ConfigError, match=r"site.key: is no key that .* made"):
        ensure_key(folder)
    assert folder.key.read_bytes() == text


def test_a_secret_that_was_written_in_part_is_made_again(folder):
    folder.secret.write_bytes(b"short")
    ensure_secret(folder)
    made = folder.secret.read_bytes()
    assert len(made) == 32
    ensure_secret(folder)
    assert folder.secret.read_bytes() == made
    assert stat.S_IMODE(folder.secret.stat().st_mode) == 0o600


def test_a_key_that_others_could_read_is_taken_away_from_them(folder, capsys):
    ensure_key(folder)
    ensure_secret(folder)
    secret = folder.secret.read_bytes()
    for path in (folder.key, folder.secret):
        path.chmod(0o644)
    assert not ensure_key(folder)
    ensure_secret(folder)
    assert "could be used by others" in capsys.readouterr().out
    assert folder.secret.read_bytes() != secret
    for path in (folder.key, folder.secret):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
