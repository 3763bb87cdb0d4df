"""The long-lived keys of a secure sum: a site's own, and those of the other sites."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fl.config.run_config import FEWEST_SECURE_SITES
from fl.privacy.secure_aggregation.errors import ProtocolViolationError
from fl.privacy.secure_aggregation.round_keys import (
    Identities,
    IdentityKey,
    identity_from_pem,
    new_identity,
    private_from_pem,
    private_pem,
)
from fl.util.atomic_io import write_atomically

PEERS = "peers"  # in a hospital's folder: the other hospitals' public keys, NAME.pub
IDENTITY = "identity.pem"  # of a simulated site


@dataclass(frozen=True, kw_only=True)
class Keyring:
    """A site's own key, whom it knows, and of how many sites it wants to be one.

    `others` takes the public keys that the server names. A simulated site believes them; a
    hospital does not look at them.
    """

    identity: IdentityKey
    others: Callable[[dict[str, bytes]], Identities]
    fewest: int = FEWEST_SECURE_SITES
    simulated: bool = True


def simulated_keyring(folder: Path) -> Keyring:
    """The keys of a simulated site, made when they are first needed."""
    path = folder / IDENTITY
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, private_pem(new_identity()))
    return Keyring(
        identity=private_from_pem(path.read_bytes()),
        others=lambda named: {name: identity_from_pem(pem) for name, pem in named.items()},
    )


def hospital_keyring(folder: Path, site: str, identity: IdentityKey, fewest: int) -> Keyring:
    """The keys of a hospital: that of its SuperNode, and those that it was handed as files."""
    return Keyring(
        identity=identity,
        others=lambda named: peers_of(folder) | {site: identity.public_key()},
        fewest=fewest,
        simulated=False,
    )


def peers_of(folder: Path) -> dict[str, ec.EllipticCurvePublicKey]:
    """The public keys in a hospital's folder, by name of site."""
    return {path.stem: read_peer(path)[1] for path in sorted((folder / PEERS).glob("*.pub"))}


def read_peer(path: Path) -> tuple[str, ec.EllipticCurvePublicKey]:
    """A site's name and key from its public key file; `ProtocolViolationError` for another one."""
    content = path.read_bytes()
    try:
        key = serialization.load_ssh_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    words = content.decode("ascii", errors="replace").split()
    if not isinstance(key, ec.EllipticCurvePublicKey) or len(words) != 3:
        raise ProtocolViolationError(
            f"{path.name}: is no site's public key. `python -m clients.deploy key` makes SITE.pub."
        )
    return words[2], key
