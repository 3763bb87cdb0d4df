"""Masks: vectors of integers that nobody can tell from noise without their seed."""

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from numpy.typing import NDArray

from fl.privacy.secure_aggregation.round_keys import agreed_key

Vector = NDArray[np.int64]


def mask_of(seed: bytes, size: int) -> Vector:
    """The mask of a 32-byte seed: the key stream of ChaCha20, as 64-bit integers.

    A seed is used for one mask alone, so the nonce may be zero.
    """
    stream = Cipher(ChaCha20(seed, bytes(16)), mode=None).encryptor().update(bytes(8 * size))
    return np.frombuffer(stream, dtype="<i8")


def pair_mask(
    private: bytes, public: bytes, context: str, own: str, other: str, size: int
) -> Vector:
    """The mask that `own` adds for its neighbour `other`, who adds its negative."""
    first, second = sorted((own, other))
    mask = mask_of(agreed_key(private, public, f"mask/{context}/{first}/{second}"), size)
    return mask if own == first else negative(mask)


def negative(vector: Vector) -> Vector:
    """Minus the vector; integers wrap around."""
    return np.negative(vector)
