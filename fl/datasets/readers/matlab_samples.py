"""Signals in MATLAB files: version 4 as WFDB reads it, versions 5 and 7.3 as arrays.

The `.mat` of the PhysioNet Challenges is a version 4 file with one array `val` (lead, sample) of
16-bit integers, which WFDB reads as format 16 after 24 bytes. `save` of MATLAB writes version 5 or,
with `-v7.3`, HDF5.
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.datasets.readers.wfdb_header import Header
from fl.util.errors import UnusableRecord

VERSION_4_HEADER = 24  # bytes
MISSING = -(2**15)  # of WFDB's format 16; what stands for NaN in an array of whole numbers
_INT16 = 30  # the type in a version 4 header
_HDF5 = b"\x89HDF\r\n\x1a\n"


def matlab_version(path: Path) -> str:
    """`4`, `5` or `7.3`; "" if the file is none of these, or not of the suffix `.mat`."""
    if path.suffix.lower() != ".mat":
        return ""
    with path.open("rb") as file:
        start = file.read(520)
    if start.startswith(b"MATLAB 5.0 MAT-file"):
        return "5"
    if start.startswith((b"MATLAB 7.3 MAT-file", _HDF5)) or start[512:] == _HDF5:
        return "7.3"
    return "4" if start[16:VERSION_4_HEADER] == b"\x04\0\0\0val\0" else ""


def check_version_4(path: Path, header: Header, name: str) -> None:
    """`UnusableRecord` unless the array is what the header says: 16 bits, one row for each lead."""
    with path.open("rb") as file:
        kind, rows = struct.unpack("<ii", file.read(8))
    leads, first = len(header.signals), header.signals[0]
    if kind != _INT16:
        detail = f"{path.name} is a MATLAB 4 file of type {kind}; {_INT16} (int16) is read"
    elif rows != leads:
        detail = f"{path.name} has {rows} rows; its header has {leads} leads"
    elif first.offset != VERSION_4_HEADER:
        detail = (
            f"{path.name} is a MATLAB 4 file, whose samples begin at byte {VERSION_4_HEADER}; "
            f"its header says {first.offset}. Write the format as 16+{VERSION_4_HEADER}"
        )
    else:
        return
    raise UnusableRecord(name, "bad-signal", detail)


def array_samples(path: Path, version: str, header: Header, name: str) -> NDArray[Any]:
    """The array of a version 5 or 7.3 file, (sample, lead).

    Whole numbers come as int64, to be scaled by the header's gain and baseline. Other numbers are
    accepted where that changes nothing. `UnusableRecord` if h5py is needed and missing.
    """
    arrays = _version_7_3(path, name) if version == "7.3" else _version_5(path, name)
    leads = len(header.signals)
    fitting = {n: a for n, a in arrays.items() if leads in a.shape}
    chosen = fitting.get("val")
    if chosen is None and len(fitting) == 1:
        chosen = next(iter(fitting.values()))
    if chosen is None:
        found = ", ".join(f"{n[:20]} {a.shape}" for n, a in arrays.items() if n.isprintable())
        raise UnusableRecord(
            name,
            "bad-signal",
            f"{path.name} (MATLAB {version}) has {found[:100] or 'no array of numbers'}; accepted: "
            f"an array `val` of {leads} rows, one for each lead of the header",
        )
    samples = chosen.T if chosen.shape[0] == leads else chosen
    if len(samples) < header.length:
        detail = f"{path.name} has {len(samples)} samples of {header.length}"
        raise UnusableRecord(name, "truncated", detail)
    return _as_stored(samples[: header.length or len(samples)], header, path, name)


def _as_stored(samples: NDArray[Any], header: Header, path: Path, name: str) -> NDArray[Any]:
    if np.issubdtype(samples.dtype, np.integer):
        return samples.astype(np.int64)
    whole: NDArray[Any] = np.nan_to_num(samples, nan=MISSING, posinf=MISSING, neginf=MISSING)
    if (whole == np.rint(whole)).all() and np.abs(whole).max(initial=0) < 2**31:
        return whole.astype(np.int64)
    if all(s.gain == 1 and s.baseline == 0 for s in header.signals):
        return samples.astype(np.float64)
    raise UnusableRecord(
        name,
        "bad-signal",
        f"{path.name} has fractions, but its header has a gain or a baseline; accepted: whole "
        "numbers, or the gain 1(0) if the values are in the header's unit already",
    )


def _version_5(path: Path, name: str) -> dict[str, NDArray[Any]]:
    from scipy.io import loadmat

    try:
        found = loadmat(path)
    except Exception as error:  # scipy raises many kinds of errors on a broken file
        raise UnusableRecord(
            name, "bad-signal", f"{path.name} is a broken MATLAB 5 file ({type(error).__name__})"
        ) from None
    return {n: a for n, a in found.items() if not n.startswith("__") and _is_table(a)}


def _version_7_3(path: Path, name: str) -> dict[str, NDArray[Any]]:
    try:
        import h5py
    except ImportError:
        raise UnusableRecord(
            name,
            "bad-signal",
            f"{path.name} is a MATLAB 7.3 file (HDF5); to read it: pip install h5py",
        ) from None
    try:
        with h5py.File(path, "r") as file:
            arrays = {n: np.asarray(d) for n, d in file.items() if isinstance(d, h5py.Dataset)}
    except Exception as error:  # h5py raises many kinds of errors on a broken file
        raise UnusableRecord(
            name, "bad-signal", f"{path.name} is a broken HDF5 file ({type(error).__name__})"
        ) from None
    # MATLAB stores columns first, so that HDF5 sees the transpose.
    return {n: a.T for n, a in arrays.items() if _is_table(a)}


def _is_table(value: object) -> bool:
    """Whether it is a matrix of real numbers."""
    return isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype.kind in "iuf"
