"""The site's key pair: made once, written whole or not at all, and repaired if it is incomplete."""

import argparse
import secrets

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from clients.deploy.site_folder import SiteFolder, read_invitation, site_folder
from clients.secure_keys import read_peer
from fl.messages.invitation import fingerprint
from fl.privacy.egress_policy import SITE
from fl.privacy.secure_aggregation.errors import ProtocolViolationError
from fl.util.atomic_io import write_atomically
from fl.util.errors import ConfigError
from fl.util.private_files import FILE, make_private

SECRET_BYTES = 32


def make_key(options: argparse.Namespace) -> int:
    """Make the site's key where it will be used; only its public half is for others."""
    read_invitation(options)
    folder = site_folder(options)
    ensure_key(folder)
    show_public_key(folder)
    return 0


def trust(options: argparse.Namespace) -> int:
    """Keep other hospitals' public keys, which secure aggregation knows them by.

    They are handed over by these hospitals, and not by the coordinator, who could exchange them.
    """
    read_invitation(options)
    folder = site_folder(options)
    found = []
    for path in options.keys:
        try:
            name, _ = read_peer(path)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from None
        except ProtocolViolationError as error:
            raise ConfigError(str(error)) from None
        if not SITE.fullmatch(name) or name == folder.site:
            raise ConfigError(f"{path}: is the key of {name!r}, which is no other hospital.")
        found.append((name, path.read_bytes()))
    folder.peers.mkdir(parents=True, exist_ok=True)
    for name, content in found:
        write_atomically(folder.peers / f"{name}.pub", content)
        print(f"{name}: {fingerprint(content)}")
    print("Compare these by telephone with the hospitals themselves. They count from now on.")
    return 0


def show_public_key(folder: SiteFolder) -> None:
    """What the hospital does with the public half of its key."""
    print(f"Send this file to the coordinator: {folder.public_key}")
    print("It is not secret. The other half of the key stays here.")
    print(f"Next, there: python -m server.deploy approve FEDERATION {folder.public_key.name}")
    print(f"To compare by telephone: {fingerprint(folder.public_key.read_bytes())}")


def ensure_key(folder: SiteFolder) -> bool:
    """Make whatever is missing of the site's key pair; whether the private key is new.

    An incomplete private key, as an interruption left it, can never have been used: it makes way
    for a new one. `ConfigError` if the file holds another kind of key.
    """
    if make_private(folder.key):
        print(
            f"{folder.key} could be used by others; now it is its owner's alone. If anybody else "
            "uses this machine, delete it, run `key` again and let the new key be approved."
        )
    found = _read_key(folder)
    key = found or _new_key(folder)
    public = _public_text(key, folder.site)
    if not folder.public_key.exists() or folder.public_key.read_bytes() != public:
        write_atomically(folder.public_key, public)
    return found is None


def _new_key(folder: SiteFolder) -> ec.EllipticCurvePrivateKey:
    if folder.key.exists():
        print(f"{folder.key} was incomplete. A new key is made; it needs to be approved.")
    key = ec.generate_private_key(ec.SECP384R1())
    write_atomically(folder.key, _private_text(key), FILE)
    return key


def ensure_secret(folder: SiteFolder) -> None:
    """The secret by which this site's processes know each other, whole and theirs alone."""
    if make_private(folder.secret):
        folder.secret.unlink()  # it is used by processes that start after this
    if not folder.secret.exists() or folder.secret.stat().st_size != SECRET_BYTES:
        write_atomically(folder.secret, secrets.token_bytes(SECRET_BYTES), FILE)


def _read_key(folder: SiteFolder) -> ec.EllipticCurvePrivateKey | None:
    """The private key; None if there is none or only a part of one."""
    try:
        key = serialization.load_ssh_private_key(folder.key.read_bytes(), None)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{folder.key}: cannot be read ({error.strerror}).") from None
    except (TypeError, UnsupportedAlgorithm):  # TypeError: it is locked with a password
        key = None
    except ValueError:
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(
            f"{folder.key}: is no key that `python -m clients.deploy key` made (ECDSA, without a "
            "password). Move it away and run `key` again."
        )
    return key


def _private_text(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )


def _public_text(key: ec.EllipticCurvePrivateKey, site: str) -> bytes:
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return public + f" {site}\n".encode()
