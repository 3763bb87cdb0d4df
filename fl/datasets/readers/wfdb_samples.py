"""Decodes the integers in a WFDB signal file without parsing its header again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.datasets.readers import wfdb_access

Integers = NDArray[np.int16]


def with_stored_samples(stem: Path, header: Any) -> Any:
    """`header` with `d_signal`, the stored integers (sample, lead), as wfdb's rdrecord gives them.

    The two formats that all published sources use are decoded here, because rdrecord would parse
    the header once more, which takes longer than decoding. rdrecord reads the other formats.
    """
    decode = _DECODERS.get(header.fmt[0])
    if decode is None or not header.sig_len:
        return wfdb_access.call("rdrecord", str(stem.absolute()), physical=False, return_res=32)
    count = header.sig_len * header.n_sig
    samples = decode(stem.parent / header.file_name[0], count, header.byte_offset[0] or 0)
    # Each lead lies together in memory, because everything that follows reads lead by lead.
    header.d_signal = np.asfortranarray(samples.reshape(header.sig_len, header.n_sig))
    return header


def _format_16(path: Path, count: int, offset: int) -> Integers:
    """Two bytes per sample, the low one first."""
    return np.fromfile(path, dtype="<i2", count=count, offset=offset)


def _format_212(path: Path, count: int, offset: int) -> Integers:
    """Two samples of 12 bits in three bytes; the middle byte holds the high bits of both."""
    pairs = -(-count // 2)
    content = np.fromfile(path, dtype=np.uint8, count=3 * pairs, offset=offset)
    if len(content) < 3 * pairs:  # the last sample of an odd number may have only two bytes
        content = np.concatenate([content, np.zeros(3 * pairs - len(content), dtype=np.uint8)])
    first, middle, second = content.reshape(pairs, 3).T.astype(np.int16)
    samples = np.empty((pairs, 2), dtype=np.int16)
    samples[:, 0] = first + ((middle & 0x0F) << 8)
    samples[:, 1] = second + ((middle & 0xF0) << 4)
    samples[samples > 2047] -= 4096
    return samples.ravel()[:count]


_DECODERS: dict[str, Callable[[Path, int, int], Integers]] = {
    "16": _format_16,
    "212": _format_212,
}
