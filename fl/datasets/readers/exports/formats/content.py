"""What a file is, by its content: a name or a suffix may say anything."""

from dataclasses import dataclass
from pathlib import Path

from fl.datasets.readers.exports.formats import (
    dicom,
    edf,
    ge_muse,
    hl7_aecg,
    ishne,
    mfer,
    philips,
    scp_ecg,
)
from fl.datasets.readers.exports.formats.format import Format
from fl.datasets.readers.exports.formats.xml_root import root_of

HEAD = 4096  # bytes that are looked at
FORMATS = (
    *(dicom.FORMAT, hl7_aecg.FORMAT, scp_ecg.FORMAT, edf.FORMAT),
    *(ge_muse.FORMAT, philips.FORMAT, mfer.FORMAT, ishne.FORMAT),
)
_SUFFIXES = tuple(dict.fromkeys(suffix for found in FORMATS for suffix in found.suffixes))
SUFFIXES = (*_SUFFIXES, *(suffix.upper() for suffix in _SUFFIXES))
NAMES = ", ".join(found.name for found in FORMATS)
_EXPORT = f"Export the recording as CSV, WFDB or one of: {NAMES}."
_SIGNAL = f"Give its numbers: CSV, WFDB or one of {NAMES}."


@dataclass(frozen=True, kw_only=True)
class Other:
    """Something that is no recording that can be read, and what to do with it."""

    name: str
    step: str


# By the bytes with which a file begins.
_BEGINNINGS: tuple[tuple[bytes, Other], ...] = (
    (b"\x89PNG\r\n", Other(name="a PNG image", step=_SIGNAL)),
    (b"\xff\xd8\xff", Other(name="a JPEG image", step=_SIGNAL)),
    (b"GIF8", Other(name="a GIF image", step=_SIGNAL)),
    (b"II*\0", Other(name="a TIFF image", step=_SIGNAL)),
    (b"MM\0*", Other(name="a TIFF image", step=_SIGNAL)),
    (b"%PDF", Other(name="a PDF document", step=_SIGNAL)),
    (b"ID3", Other(name="an MP3 sound", step=_SIGNAL)),
    (b"OggS", Other(name="an Ogg sound", step=_SIGNAL)),
    (b"fLaC", Other(name="a FLAC sound", step=_SIGNAL)),
    (b"\x1f\x8b", Other(name="a gzip archive", step="Unpack it and name what is in it.")),
    (b"7z\xbc\xaf", Other(name="a 7z archive", step="Unpack it and name what is in it.")),
    (b"Rar!", Other(name="a RAR archive", step="Unpack it and name what is in it.")),
    (b"BZh", Other(name="a bzip2 archive", step="Unpack it and name what is in it.")),
    (b"\xfd7zXZ", Other(name="an xz archive", step="Unpack it and name what is in it.")),
    (
        b"\xd0\xcf\x11\xe0",
        Other(name="an old Excel or Word file", step="Save its table as CSV and name that."),
    ),
    (b"\x89HDF\r\n", Other(name="an HDF5 or MATLAB 7.3 file", step=_EXPORT)),
    (b"MATLAB 5.0", Other(name="a MATLAB file", step=_EXPORT)),
    (b"\x93NUMPY", Other(name="a NumPy file", step=_EXPORT)),
    (b"PAR1", Other(name="a Parquet file", step=_EXPORT)),
    (b"SQLite format 3", Other(name="an SQLite database", step=_EXPORT)),
    (b"\xffBIOSEMI", Other(name="a BDF file", step=_EXPORT)),
    (b"\x7fELF", Other(name="a program", step=_EXPORT)),
    (b"{\\rtf", Other(name="an RTF document", step=_SIGNAL)),
)
_EXCEL = Other(name="an Excel workbook", step="Save its table as CSV and name that.")
_ZIP = Other(name="a ZIP archive", step="Unpack it and name what is in it.")
_BINARY = Other(name="a binary file of an unknown kind", step=_EXPORT)


def kind_of(path: Path) -> Format | Other | None:
    """The kind of a file; None for text that is no XML, which may be a table or a header.

    Raises OSError if the file cannot be read.
    """
    with path.open("rb") as file:
        return kind_of_bytes(file.read(HEAD))


def kind_of_bytes(head: bytes) -> Format | Other | None:
    """The kind of a file that begins with these bytes: see `kind_of`."""
    for found in FORMATS:
        if found.matches(head):
            return found
    for beginning, other in _BEGINNINGS:
        if head.startswith(beginning):
            return other
    if head.startswith(b"PK\3\4"):
        return _EXCEL if b"xl/" in head or b"[Content_Types].xml" in head else _ZIP
    if head[:4] == b"RIFF":
        return Other(name="a WAV sound" if head[8:12] == b"WAVE" else "a RIFF file", step=_SIGNAL)
    if head[4:8] == b"ftyp":
        return Other(name="a video or a sound", step=_SIGNAL)
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2:  # frame of MPEG layer III
        return Other(name="an MP3 sound", step=_SIGNAL)
    root = root_of(head)
    if root.lower() == "html":
        return Other(name="a web page", step=_SIGNAL)
    if root:
        return Other(name="an XML file of an unknown kind", step=_EXPORT)
    wide = head[:2] in (b"\xff\xfe", b"\xfe\xff")  # UTF-16 text has zeros
    return _BINARY if b"\0" in head and not wide else None


def without_suffix(name: str) -> str:
    """The name of a record from that of its file. Other suffixes stay: `1.2.840` has none."""
    for suffix in SUFFIXES:
        if name.endswith(suffix):
            return name[: -len(suffix)]
    return name
