"""Decodes the integers in a WFDB signal file, whose header has been parsed already."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.datasets.readers import wfdb_access
from fl.datasets.readers.wfdb_header import Header, SignalLine
from fl.util.errors import UnusableRecord

Integers = NDArray[np.signedinteger[Any]]

# Bits per sample of the uncompressed formats. 310 and 311 have three samples in four bytes.
_BITS = {"8": 8, "16": 16, "24": 24, "32": 32, "61": 16, "80": 8, "160": 16, "212": 12}
_THIRDS = ("310", "311")
_SPARE = 2  # bytes that fill the last group of samples of 212, 310 and 311
_COMPRESSED = ("508", "516", "524")  # FLAC
FORMATS = (*_BITS, *_THIRDS, *_COMPRESSED)
# The stored number that stands for a missing sample.
MISSING = MappingProxyType(
    {
        **dict.fromkeys(("80", "508"), -(2**7)),
        **dict.fromkeys(("310", "311"), -(2**9)),
        "212": -(2**11),
        **dict.fromkeys(("16", "61", "160", "516"), -(2**15)),
        **dict.fromkeys(("24", "524"), -(2**23)),
        "32": -(2**31),
    }
)


def stored_samples(path: Path, header: Header, name: str) -> tuple[Integers, int]:
    """The stored integers of a signal file (sample, lead), and the samples that it holds of each.

    The header says how many are read; if it does not, all. `UnusableRecord` if the file has fewer,
    or no whole number of samples.
    """
    signals = header.signals
    form, offset = signals[0].format, signals[0].offset
    if any(signal.per_frame != 1 or signal.skew for signal in signals):
        raise UnusableRecord(name, "bad-header", "leads of different rates or skews are not read")
    if len({signal.format for signal in signals}) != 1 or form not in FORMATS:
        formats = ", ".join(sorted({signal.format for signal in signals}))
        raise UnusableRecord(
            name,
            "bad-header",
            f"signal format {formats[:40]} is not read; accepted: {', '.join(FORMATS)}",
        )
    held = _held(path, header, name)
    length = header.length or held
    decode = _DECODERS.get(form) or _by_wfdb(signals, header.fs)
    try:
        samples = decode(path, length * len(signals), offset)
    except Exception as error:  # wfdb and numpy raise many kinds of errors on a broken file
        raise UnusableRecord(name, "bad-signal", f"{type(error).__name__} in {path.name}") from None
    # Each lead lies together in memory, because everything that follows reads lead by lead.
    return np.asfortranarray(samples.reshape(length, len(signals))), held


def _held(path: Path, header: Header, name: str) -> int:
    """The samples of each lead that a file has room for."""
    form, leads = header.signals[0].format, len(header.signals)
    offset, size = header.signals[0].offset, path.stat().st_size
    if form in _COMPRESSED:
        return _flac_length(path, name, header) - offset  # of samples, in this format
    content, needed = size - offset, _bytes_of(header.length * leads, form)
    if content <= 0 or content < needed:
        stated = f" of {offset + needed}" if needed else ""
        raise UnusableRecord(name, "truncated", f"{path.name} has {size} bytes{stated}")
    held = content * 3 // 4 if form in _THIRDS else content * 8 // _BITS[form]
    if not header.length and _bytes_of(held // leads * leads, form) < content - _SPARE:
        detail = f"{path.name} has {held} samples, no whole number for each of {leads} leads"
        raise UnusableRecord(name, "bad-signal", detail)
    return held // leads


def _bytes_of(samples: int, form: str) -> int:
    return -(-samples * 4 // 3) if form in _THIRDS else -(-samples * _BITS[form] // 8)


def _flac_length(path: Path, name: str, header: Header) -> int:
    try:
        import soundfile  # of wfdb; slow to import

        facts = soundfile.info(str(path))
    except Exception as error:  # libsndfile may be missing, or the file damaged
        raise UnusableRecord(
            name, "bad-signal", f"{path.name} is not FLAC ({type(error).__name__})"
        ) from None
    frames = int(facts.frames)
    if facts.channels != len(header.signals):
        detail = f"{path.name} has {facts.channels} leads; its header has {len(header.signals)}"
        raise UnusableRecord(name, "bad-signal", detail)
    if frames < header.length + header.signals[0].offset:
        detail = f"{path.name} has {frames} samples of {header.length}"
        raise UnusableRecord(name, "truncated", detail)
    return frames


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


def _by_wfdb(signals: Sequence[SignalLine], fs: float) -> Callable[[Path, int, int], Integers]:
    """Decodes a format that few sources use.

    wfdb reads a header by its own rules, so it is given one that has only what it needs to decode.
    """

    def decode(path: Path, count: int, offset: int) -> Integers:
        length = count // len(signals)
        lines = [f"r {len(signals)} {fs:g} {length}"]
        lines += [
            f"r.dat {s.format}+{offset} 1(0)/mV {s.resolution} 0 {s.first or 0} 0 0 c{i}"
            for i, s in enumerate(signals)
        ]
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "r.hea").write_text("\n".join(lines) + "\n")
            (Path(folder) / "r.dat").symlink_to(path.absolute())
            read = wfdb_access.call(
                "rdrecord", f"{folder}/r", physical=False, return_res=32
            ).d_signal
        return np.asarray(read).ravel()

    return decode
