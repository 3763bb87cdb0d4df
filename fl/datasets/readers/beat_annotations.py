"""Reads the beat and rhythm annotations of a WFDB record, and checks them against its signal."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fl.datasets.readers import wfdb_access
from fl.datasets.readers.own_files import own_file, read_own_file
from fl.datasets.readers.wfdb_signals import Waveform
from fl.ecg.labels import AAMI
from fl.ecg.records import Annotations
from fl.util.errors import UnusableRecord


def has_annotations(stem: Path) -> bool:
    """Whether there is a file `stem`.atr."""
    return _path(stem).is_file()


def beat_annotations(stem: Path, name: str, wave: Waveform) -> Annotations:
    """The annotations in `stem`.atr; `UnusableRecord` if they do not fit the signal."""
    path = _path(stem)
    if not read_own_file(path, name).endswith(b"\0\0"):  # the end mark of every annotation file
        raise UnusableRecord(name, "no-annotation", f"{path.name} ends before its end mark")
    read = _read_annotations(stem, name)
    samples = np.asarray(read.sample, dtype=np.int64)
    _check_annotations(samples, read.symbol, name, wave.signal.shape[1])
    notes = [note.rstrip("\0").strip() for note in read.aux_note]
    return Annotations(
        samples=samples,
        symbols=tuple(read.symbol),
        rhythms=tuple(note if note.startswith("(") else "" for note in notes),
    )


def _path(stem: Path) -> Path:
    return own_file(stem, ".atr")


def _read_annotations(stem: Path, name: str) -> Any:
    try:
        return wfdb_access.beats(stem, _path(stem).suffix[1:])
    except Exception as error:  # wfdb raises many kinds of errors on a broken file
        raise UnusableRecord(name, "no-annotation", f"wfdb: {type(error).__name__}") from None


def _check_annotations(
    samples: np.ndarray[Any, np.dtype[np.int64]], symbols: Sequence[str], name: str, length: int
) -> None:
    """`UnusableRecord` for symbols, an order or positions that only a damaged file has."""
    if not any(symbol in AAMI for symbol in symbols):
        raise UnusableRecord(name, "no-annotation", "no beat is annotated")
    if not wfdb_access.symbols().issuperset(symbols):
        raise UnusableRecord(name, "no-annotation", "unknown annotation symbols")
    if samples[0] < 0 or samples[-1] >= length or (np.diff(samples) < 0).any():
        raise UnusableRecord(name, "no-annotation", "annotations out of order or beyond the signal")
