"""Finds the same recording under two names, in two data sets or under two patients."""

import hashlib

import numpy as np
from numpy.typing import NDArray


def fingerprints(leads: tuple[str, ...], signal: NDArray[np.float32]) -> tuple[str, ...]:
    """One text for each lead of a signal (lead, sample); only copies of the recording share it.

    It is computed from where the signal rises, falls or stays equal, so it does not depend on
    the unit, the gain or the baseline.
    """
    return tuple(
        f"{lead}:{hashlib.blake2b(_rise_and_fall(samples), digest_size=16).hexdigest()}"
        for lead, samples in zip(leads, signal, strict=True)
    )


def _rise_and_fall(samples: NDArray[np.float32]) -> bytes:
    """1, -1 or 0 between each two samples: the signal rises, falls or stays equal."""
    return np.sign(np.diff(samples)).astype(np.int8).tobytes()


class SeenSignals:
    """Remembers the recordings seen so far and finds the first one with the same signal."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}

    def first_match(self, name: str, fingerprints: tuple[str, ...]) -> str:
        """Name of an earlier recording with the same signal in one of the leads, or "".

        The recording itself is remembered for later calls.
        """
        match = next((self._first[p] for p in fingerprints if p in self._first), "")
        for fingerprint in fingerprints:
            self._first.setdefault(fingerprint, match or name)
        return match
