"""Reads the recording in an upload with the readers of `fl.predict`, which take files.

The files lie in a folder of their own in /dev/shm, which is memory, or where there is none in the
usual place for temporary files; only this user may enter it, and it is gone before the answer.
"""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from fl.datasets.readers.exports.csv_tables.csv_recording import UNITS
from fl.datasets.record_discovery import WFDB_PARTS
from fl.ecg.records import Record
from fl.predict.answerable import without_signal
from fl.predict.input_files import read_record
from fl.util.errors import ConfigError, DataError, UnusableRecord
from heartfed.web.upload.received import Upload, UploadedFile

MEMORY = Path("/dev/shm")
LONGEST = 26 * 3600.0  # s: a day's Holter recording, and some
MOST_BEATS = 20_000  # of single heartbeats in one table
PIECE = 2**20  # bytes that are written at a time
# The flags of the command line, as the page calls them.
FIELDS = {
    "--fs": "Sampling rate",
    "--unit": "Unit",
    "--leads": "Leads",
    "--ignore-checksums": "Ignore checksums",
}


class Unreadable(Exception):
    """An upload from which no recording can be read; its text says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class ReadUpload:
    """The recording of an upload, or why none of it can be answered."""

    name: str  # of its file
    record: Record | None  # or single heartbeats; None without a usable lead
    cannot_say: str = ""  # why no model can answer; "" if they may be asked


def read_upload(upload: Upload) -> ReadUpload:
    """The recording in an upload; `Unreadable` says in words why there is none."""
    if not upload.files:
        raise Unreadable("No file was chosen. Choose a recording.")
    options = Options.of(upload.fields)
    with _written(upload.files) as folder:
        main = _main_file([file.name for file in upload.files], folder)
        try:
            return _read(folder / main, options)
        except Unreadable:
            raise
        except (ConfigError, DataError) as error:
            raise Unreadable(_as_on_page(str(error), folder)) from None
        except Exception as error:
            # The text of an unexpected error could hold what the file says about a patient.
            raise Unreadable(
                f"{main}: cannot be read ({type(error).__name__} in HeartFed). Check the file, or "
                "report its kind as a bug."
            ) from None


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the file may not say itself."""

    fs: float | None
    unit: str
    leads: tuple[str, ...]
    ignore_checksums: bool

    @classmethod
    def of(cls, fields: dict[str, str]) -> "Options":
        """The fields of the form; `Unreadable` for a value that is none."""
        text = fields.get("fs", "").strip().replace(",", ".")
        fs = float(text) if re.fullmatch(r"\d{1,7}(\.\d{1,9})?", text) else None
        if text and not (fs and 0 < fs < 1e6):
            raise Unreadable("Sampling rate: give a number of Hz, such as 360, or leave it empty.")
        unit = fields.get("unit", "")
        if unit and unit not in UNITS:
            raise Unreadable(f"Unit: known are {', '.join(UNITS)}.")
        leads = fields.get("leads", "").strip()
        return cls(
            fs=fs,
            unit=unit,
            leads=tuple(name.strip() for name in leads.split(",")) if leads else (),
            ignore_checksums=bool(fields.get("ignore_checksums")),
        )


@contextmanager
def _written(files: Sequence[UploadedFile]) -> Iterator[Path]:
    """The files in a folder that only this user may enter (mode 0700), and that then is gone."""
    place = MEMORY if os.access(MEMORY, os.W_OK) else None
    with TemporaryDirectory(prefix="heartfed-", dir=place, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        for file in files:
            path = folder / file.name
            if path.exists():
                raise Unreadable(f"{file.name}: two files have this name. Choose one of them.")
            try:
                with path.open("xb") as target:
                    shutil.copyfileobj(file.content, target, PIECE)
            except OSError as error:
                raise Unreadable(f"{file.name}: no room to read it ({error.strerror}).") from None
            file.content.close()  # its memory is needed twice no longer
        yield folder


def _main_file(names: Sequence[str], folder: Path) -> str:
    """The file that stands for the recording: the header of a WFDB record, else the only one."""
    headers = [name for name in names if name.lower().endswith(".hea")]
    if len(headers) == 1 and all(_belongs(name, headers[0]) for name in names):
        return headers[0]
    if len(headers) > 1:  # segments have headers of their own; the record's names their number
        whole = [name for name in headers if _names_segments(folder / name)]
        if len(whole) == 1:
            return whole[0]
        raise Unreadable("There is more than one header (.hea). Choose the files of one recording.")
    if not headers and all(name.lower().endswith(WFDB_PARTS) for name in names):
        raise Unreadable(
            f"{names[0]}: a WFDB record needs its header too. Choose the .hea and the .dat file "
            "together."
        )
    if len(names) > 1:
        raise Unreadable(
            "These files are no single recording. Choose one file, or the header (.hea) and the "
            "data (.dat) of one WFDB record."
        )
    return names[0]


def _belongs(name: str, header: str) -> bool:
    return name.rpartition(".")[0] == header.rpartition(".")[0]


def _names_segments(header: Path) -> bool:
    """Whether the first line names a record of several segments: `100/5 2 360`."""
    for line in header.read_bytes()[:4096].splitlines():
        words = line.split()
        if words and not words[0].startswith(b"#"):
            return b"/" in words[0]
    return False


def _read(path: Path, options: Options) -> ReadUpload:
    try:
        record = read_record(
            str(path),
            options.fs,
            options.unit,
            options.leads,
            options.ignore_checksums,
            single_beats=True,
        )
    except UnusableRecord as error:
        found = without_signal(path.name, error)
        if found is None:
            raise
        return ReadUpload(name=path.name, record=None, cannot_say=found.cannot_say)
    beats = 0 if record.cut_beats is None else len(record.cut_beats.starts)
    if beats > MOST_BEATS:
        raise Unreadable(
            f"{path.name}: has {beats:,} heartbeats; up to {MOST_BEATS:,} are shown. Use "
            "`heartfed predict` for more."
        )
    seconds = record.signal.shape[1] / record.fs
    if seconds > LONGEST and not beats:
        raise Unreadable(
            f"{path.name}: lasts {seconds / 3600:.0f} hours; up to {LONGEST / 3600:.0f} are shown. "
            "Use `heartfed predict` for longer recordings."
        )
    return ReadUpload(name=path.name, record=record)


def _as_on_page(text: str, folder: Path) -> str:
    """An error without the path of the folder, and with the names of the page's fields."""
    text = text.replace(f"{folder}{os.sep}", "").replace(str(folder), "the upload")
    for flag, name in FIELDS.items():
        text = re.sub(rf"{flag}\b", f"“{name}”", text)
    return text
