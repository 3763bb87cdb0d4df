"""Named random streams, so that no result depends on which site finishes first."""

import hashlib

import numpy as np


def _digest(*name: str | int) -> int:
    text = "/".join(map(str, name)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def stream(seed: int, *name: str | int) -> np.random.Generator:
    """A generator of random numbers, named by its use: `stream(7, "fit", "site-03", round)`.

    The same seed and name always give the same numbers, whatever else was drawn before.
    """
    return np.random.default_rng([seed, _digest(*name)])


def torch_seed(seed: int, *name: str | int) -> int:
    """A seed for `torch.manual_seed`, named by its use as in `stream`."""
    return int(stream(seed, *name).integers(2**63 - 1))
