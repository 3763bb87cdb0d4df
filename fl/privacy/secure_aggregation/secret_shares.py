"""Secrets split among sites, each share in a sealed letter.

Source: Shamir 1979, doi:10.1145/359168.359176.
pycryptodome splits secrets of 16 bytes over a field of 2**128 elements; ours are two of those.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from Crypto.Protocol.SecretSharing import Shamir
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from fl.privacy.secure_aggregation.errors import ProtocolViolationError
from fl.privacy.secure_aggregation.round_keys import KEY_BYTES, agreed_key

HALF = 16  # bytes of a secret that is split at once
NONCE, TAG = 12, 16  # bytes that ChaCha20-Poly1305 adds
SEALED_BYTES = NONCE + 2 * KEY_BYTES + TAG  # of a letter


@dataclass(frozen=True)
class SharePair:
    """A neighbour's shares of a site's two secrets."""

    mask_key: bytes  # of the private key that makes the masks it has in common with others
    seed: bytes  # of the seed of its own mask


def split(secret: bytes, threshold: int, holders: list[str]) -> dict[str, bytes]:
    """Shares of a secret of 32 bytes by holder; any `threshold` of them give it back."""
    halves = [
        dict(Shamir.split(threshold, len(holders), secret[place : place + HALF], ssss=False))
        for place in (0, HALF)
    ]
    return {
        holder: halves[0][number] + halves[1][number]
        for number, holder in enumerate(holders, start=1)
    }


def combine(shares: Mapping[str, bytes], threshold: int, holders: list[str]) -> bytes:
    """The secret from `threshold` of its shares; `ProtocolViolationError` for misshapen ones."""
    if any(len(share) != KEY_BYTES for share in shares.values()):
        raise ProtocolViolationError(f"a share of a secret is not of {KEY_BYTES} bytes")
    number = {holder: place for place, holder in enumerate(holders, start=1)}
    chosen = sorted(shares)[:threshold]
    halves = []
    for place in (0, HALF):
        parts = [(number[holder], shares[holder][place : place + HALF]) for holder in chosen]
        halves.append(Shamir.combine(parts, ssss=False))
    return halves[0] + halves[1]


def seal(
    private: bytes, public: bytes, context: str, sender: str, to: str, pair: SharePair
) -> bytes:
    """The shares in a letter that only `to` can open, and that nobody can change unnoticed."""
    key = agreed_key(private, public, f"letter/{context}/{sender}/{to}")
    nonce = os.urandom(NONCE)
    return nonce + ChaCha20Poly1305(key).encrypt(nonce, pair.mask_key + pair.seed, None)


def open_sealed(
    private: bytes, public: bytes, context: str, sender: str, to: str, letter: bytes
) -> SharePair:
    """The shares in a letter; `ProtocolViolationError` if it is not the one that was sent.

    The key is of this round, sender and receiver, so a letter that is sent again in another
    round, or to somebody else, does not open.
    """
    key = agreed_key(private, public, f"letter/{context}/{sender}/{to}")
    try:
        content = ChaCha20Poly1305(key).decrypt(letter[:NONCE], letter[NONCE:], None)
    except (InvalidTag, ValueError):
        raise ProtocolViolationError(f"the shares that {sender} sent cannot be opened") from None
    if len(content) != 2 * KEY_BYTES:
        raise ProtocolViolationError(f"the shares that {sender} sent are misshapen")
    return SharePair(mask_key=content[:KEY_BYTES], seed=content[KEY_BYTES:])
