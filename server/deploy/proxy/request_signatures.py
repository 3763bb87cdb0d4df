"""Who signed a request, known from its head, before a byte of its body is read.

A SuperNode signs the time of each request with its key (ECDSA with SHA-256) and sends the public
half along. The SuperLink checks the same after it has read the body, and whose node the key is; it
takes one signature for 305 s as often as it comes. Here each is taken once.
"""

import base64
import datetime
import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from fl.messages.invitation import fingerprint
from server.deploy.federation_store import FederationFolder
from server.deploy.proxy import fleet_internals

AHEAD, BEHIND = 5.0, 305.0  # seconds by which a site's clock may differ, as in Flower 1.41
LONGEST_HEADER = 4096  # characters; of a key on the largest usual curve there are about 400
MOST_REMEMBERED = 500_000  # signatures; at a hundred bytes each
JUST_WRITTEN = 2.0  # seconds; a folder changed so lately may change again within its time stamp


@dataclass(frozen=True)
class ApprovedKeys:
    """Fingerprints of the keys of sites that may take part, read again when a site changes."""

    folder: FederationFolder
    _read: dict[int, frozenset[str]] = field(default_factory=dict)

    def __contains__(self, key: object) -> bool:
        try:
            return key in self._fingerprints()
        except (OSError, ValueError, KeyError, TypeError) as error:
            logging.getLogger("heartfed").error("the sites' files cannot be read: %s", error)
            return False

    def _fingerprints(self) -> frozenset[str]:
        changed = (self.folder.path / "sites").stat().st_mtime_ns
        if changed in self._read:
            return self._read[changed]
        sites = self.folder.sites().values()
        found = frozenset(k for site in sites if not site["revoked"] for k in site["keys"])
        if time.time() - changed / 1e9 > JUST_WRITTEN:
            self._read.clear()
            self._read[changed] = found
        return found


class UsedSignatures:
    """Signatures that were taken while they are valid, so that none is taken twice."""

    def __init__(self) -> None:
        self._until: OrderedDict[tuple[str, str, int], float] = OrderedDict()

    def take(self, key: str, signed_at: str, signature: bytes) -> bool:
        """Whether a valid signature comes for the first time; it is then remembered."""
        now = time.monotonic()
        while self._until and next(iter(self._until.values())) < now:
            self._until.popitem(last=False)
        # Of (r, s) and (r, -s), which are both valid, r is the same; nobody makes another r
        # without the key.
        use = (key, signed_at, decode_dss_signature(signature)[0])
        if use in self._until or len(self._until) >= MOST_REMEMBERED:
            return False
        self._until[use] = now + AHEAD + BEHIND
        return True


def signer(headers: Mapping[str, str], used: UsedSignatures) -> str | None:
    """Fingerprint of the key that signed a request just now; None if it is not validly signed."""
    names = (fleet_internals.KEY, fleet_internals.SIGNED_AT, fleet_internals.SIGNATURE)
    pem, signed_at, signature = (headers.get(name, "") for name in names)
    if max(map(len, (pem, signed_at, signature))) > LONGEST_HEADER:
        return None
    try:
        age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(signed_at)
        if not -AHEAD < age.total_seconds() < BEHIND:
            return None
        key, name = _key(pem)
        signed = base64.b64decode(signature, validate=True)
        key.verify(signed, signed_at.encode("ascii"), ec.ECDSA(hashes.SHA256()))
        return name if used.take(name, signed_at, signed) else None
    except (ValueError, TypeError, OverflowError, InvalidSignature, UnsupportedAlgorithm):
        return None


@lru_cache(maxsize=256)
def _key(pem: str) -> tuple[ec.EllipticCurvePublicKey, str]:
    """A public key and its fingerprint; `ValueError` if it is none as sites make them."""
    key = serialization.load_pem_public_key(base64.b64decode(pem, validate=True))
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("no key on an elliptic curve")
    form = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    return key, fingerprint(key.public_bytes(*form))
