"""Find heartbeats without annotations, and say how well that went."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.util.fast_import import import_quietly

Places = NDArray[np.int64]

MATCH_SECONDS = 0.15  # ANSI/AAMI EC57: a detection this near an annotated beat has found it


def _xqrs(signal: NDArray[np.floating[Any]], fs: float) -> Places:
    detector = import_quietly("wfdb.processing").XQRS(sig=signal, fs=fs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # wfdb's own, about its own arithmetic
        detector.detect(verbose=False)
    return np.asarray(detector.qrs_inds, dtype=np.int64)


def _gqrs(signal: NDArray[np.floating[Any]], fs: float) -> Places:
    detect = import_quietly("wfdb.processing").gqrs_detect
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(detect(sig=signal, fs=fs), dtype=np.int64)


DETECTORS: dict[str, Callable[[NDArray[np.floating[Any]], float], Places]] = {
    "xqrs": _xqrs,
    "gqrs": _gqrs,
}


def detect_beats(name: str, signal: NDArray[np.floating[Any]], fs: float) -> Places:
    """R peaks of one lead (sample,) in mV, moved to the largest deflection within 50 ms.

    The detectors mark a point of the QRS complex; annotations mark its peak.
    """
    found = DETECTORS[name](np.asarray(signal, dtype=np.float64), fs)
    reach = round(0.05 * fs)
    at = (found[:, None] + np.arange(-reach, reach + 1)).clip(0, len(signal) - 1)
    around = signal[at]
    height = np.abs(around - np.median(around, axis=1, keepdims=True))
    return np.unique(at[np.arange(len(at)), height.argmax(axis=1)]).astype(np.int64)


def match_beats(annotated: Places, found: Places, fs: float) -> tuple[Places, Places]:
    """Pairs of an annotated beat and its detection: indices into both, each used once.

    Nearest pairs first, none further apart than 150 ms.
    """
    reach = MATCH_SECONDS * fs
    first = np.searchsorted(found, annotated - reach, side="left")
    last = np.searchsorted(found, annotated + reach, side="right")
    pairs = sorted(
        (abs(int(found[j]) - int(annotated[i])), i, j)
        for i in range(len(annotated))
        for j in range(first[i], last[i])
    )
    taken_known: set[int] = set()
    taken_found: set[int] = set()
    kept = []
    for _, i, j in pairs:
        if i not in taken_known and j not in taken_found:
            taken_known.add(i)
            taken_found.add(j)
            kept.append((i, j))
    table = np.array(sorted(kept), dtype=np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]
