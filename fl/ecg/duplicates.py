"""Recordings that are there twice, under two names, in two data sets, or of "two patients"."""

import hashlib

import numpy as np
from numpy.typing import NDArray


def fingerprints(leads: tuple[str, ...], signal: NDArray[np.float32]) -> tuple[str, ...]:
    """One text per lead of (lead, sample) that only a copy of the same recording shares.

    It tells where the signal rises, falls and stays, so that it is the same in mV and scaled
    to the record's own peak, with another gain or another baseline.
    """
    return tuple(
        f"{lead}:{hashlib.blake2b(_course(samples), digest_size=16).hexdigest()}"
        for lead, samples in zip(leads, signal, strict=True)
    )


def _course(samples: NDArray[np.float32]) -> bytes:
    return np.sign(np.diff(samples)).astype(np.int8).tobytes()


class SeenSignals:
    """Remembers recordings, and names the first one that a later one repeats."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}

    def first_match(self, name: str, prints: tuple[str, ...]) -> str:
        """Name of an earlier recording with the same signal in one of the leads, or ""."""
        known = next((self._first[p] for p in prints if p in self._first), "")
        for p in prints:
            self._first.setdefault(p, known or name)
        return known
