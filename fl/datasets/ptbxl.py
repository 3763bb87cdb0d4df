"""PTB-XL in its own layout: 12-lead recordings of identified patients."""

import ast
import csv
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from fl.datasets.base import Card
from fl.datasets.readers.wfdb_signals import Waveform, read_waveform
from fl.datasets.record_discovery import data_files, require_records
from fl.ecg.labels import (
    SCP,
    SCP_OPEN,
    infarction_of_scp,
    label_vector,
    map_codes,
    open_classes,
)
from fl.ecg.records import LEADS, Record
from fl.util.errors import DataError, UnusableRecord

TABLE = "ptbxl_database.csv"
_COLUMNS = ("ecg_id", "patient_id", "age", "sex", "site", "scp_codes", "filename_lr", "filename_hr")
_RATES = {100.0: "filename_lr", 500.0: "filename_hr"}
_FILE = re.compile(r"records(100|500)/\d{5}/\d{5}_[lh]r")


@dataclass(frozen=True, kw_only=True)
class PtbXl:
    """A PTB-XL folder; the 100 Hz copy is read if it exists, else the 500 Hz copy."""

    card: Card
    folder: str
    # Read signals that differ from their checksums. Not in the repr: see `Card.infarction`.
    ignore_checksums: bool = field(default=False, repr=False)

    def exists(self, root: Path) -> bool:
        return (root / self.folder).is_dir()

    def record_names(self, root: Path) -> list[str]:
        folder = root / self.folder
        expected = f"{TABLE} with records100 or records500"
        names = list(_rows(folder)) if (folder / TABLE).is_file() else []
        return require_records(self.card, folder, names, expected)

    def files(self, root: Path) -> list[Path]:
        return data_files(root / self.folder)

    def read(self, root: Path, name: str) -> Record:
        row = _row(root / self.folder, name)
        codes = _codes(name, row["scp_codes"])
        classes = [c for c in map_codes(codes, SCP) if c in self.card.annotates]
        wave = self.waveform(root, name)
        return Record(
            source=self.card.name,
            name=name,
            patient=_without_point(row["patient_id"]),
            signal=wave.signal,
            leads=wave.leads,
            fs=wave.fs,
            notes=wave.notes,
            labels=label_vector(classes, set(self.card.annotates) - open_classes(codes, SCP_OPEN)),
            group=_without_point(row["site"]),
            age=_age(row["age"]),
            sex={"0": "M", "1": "F"}.get(_without_point(row["sex"]), ""),
            infarction=infarction_of_scp(codes),
            unit=self.card.unit,
        )

    def waveform(self, root: Path, name: str) -> Waveform:
        """The signal, whatever its labels are."""
        folder = root / self.folder
        rate = 100.0 if (folder / "records100").is_dir() else 500.0
        stem = _stem(folder, name, _row(folder, name)[_RATES[rate]])
        return read_waveform(
            stem,
            name=name,
            rates=(rate,),
            unit=self.card.unit,
            ignore_checksums=self.ignore_checksums,
        )


def _row(folder: Path, name: str) -> dict[str, str]:
    """The record's row of the table; `UnusableRecord` if it cannot be used."""
    row = _rows(folder).get(name)
    if row is None:
        raise UnusableRecord(name, "missing-file", f"not in {TABLE}")
    if row.get("repeated"):
        raise UnusableRecord(name, "label-conflict", f"{TABLE} lists it twice")
    if not _without_point(row["patient_id"]):
        raise UnusableRecord(name, "label-conflict", f"{TABLE} names no patient for it")
    return row


def _stem(folder: Path, name: str, path: str) -> Path:
    """The record's path without suffix; `UnusableRecord` if the table names another file."""
    if not _FILE.fullmatch(path):
        shown = path[:60] if path.isprintable() else "an unreadable path"
        raise UnusableRecord(name, "foreign-file", f"{TABLE} names {shown}")
    if not path.rpartition("/")[2].startswith(name):
        raise UnusableRecord(name, "foreign-file", f"{TABLE} names another record's {path}")
    return folder / path


def _codes(name: str, text: str) -> dict[str, float]:
    """Statements of a record and their likelihoods; 0 only means that none was given.

    `UnusableRecord` if there are none, as nothing is then known of any class.
    """
    try:
        codes = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        codes = None
    if not isinstance(codes, dict) or not all(isinstance(code, str) for code in codes):
        raise UnusableRecord(name, "no-label", "its scp_codes cannot be read")
    if not codes:
        raise UnusableRecord(name, "no-label", "it has no statement")
    return {code: _likelihood(value) for code, value in codes.items()}


def _likelihood(value: object) -> float:
    """A likelihood in per cent; one that is no number counts as not given."""
    return float(value) if isinstance(value, int | float) else 0.0


def _age(text: str) -> float | None:
    """Age in years; PTB-XL writes 300 for everyone above 89, which becomes 90."""
    try:
        age = float(text)
    except ValueError:
        return None
    return 90.0 if age == 300 else age if 0 <= age <= 120 else None


def _without_point(text: str) -> str:
    """`15709.0` -> `15709`: columns in which a number is unknown have a point in all others."""
    return text.strip().removesuffix(".0")


def _rows(folder: Path) -> dict[str, dict[str, str]]:
    """The rows of PTB-XL's table, by record; read again only if the file has changed."""
    path = folder / TABLE
    if not path.is_file():
        raise DataError(
            f"{path}: no such file. It comes with PTB-XL and has its labels. Fetch it with "
            "`python -m fl.datasets download ptbxl`."
        )
    state = path.stat()
    return _table(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _table(path: Path, _changed: int, _size: int) -> dict[str, dict[str, str]]:
    rows: dict[str, dict[str, str]] = {}
    try:
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            reader = csv.DictReader(file)
            missing = [c for c in _COLUMNS if c not in (reader.fieldnames or ())]
            if missing:
                raise DataError(
                    f"{path}: column {missing[0]} is missing. Is this PTB-XL's own {TABLE}?"
                )
            for row in reader:
                name = _without_point(row["ecg_id"]).zfill(5)
                cells = {column: row[column] or "" for column in _COLUMNS}
                rows[name] = cells | {"repeated": "yes" if name in rows else ""}
    except (OSError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a table ({error}). Fetch it again.") from None
    return rows


PTBXL = PtbXl(
    folder="ptbxl",
    card=Card(
        name="ptbxl",
        title="PTB-XL 1.0.3",
        leads=LEADS,
        rates=(100.0, 500.0),
        annotates=("NSR", "AF", "IAVB", "LBBB", "RBBB", "PAC", "PVC", "STD"),
        mapping=(
            "SCP-ECG statements (NORM AFIB 1AVB CLBBB CRBBB PAC PVC STD_), whatever their "
            "likelihood, as 0 means that none was given; NSR means a normal ECG. Masked: STE, "
            "which 28 of 21,799 records carry as `non-specific` while infarctions and injuries "
            "have statements of their own. A record of other statements alone is a known negative."
        ),
        patients="Identified: several records may be of one patient, who stays at one site.",
        licence="CC BY 4.0",
        citation=(
            "Wagner P, Strodthoff N, Bousseljot RD, et al. PTB-XL, a large publicly available "
            "electrocardiography dataset. Sci Data 2020;7:154, doi:10.1038/s41597-020-0495-6."
        ),
        url="https://physionet.org/content/ptb-xl/1.0.3/",
        infarction=(
            "Infarction: a statement of the superclass MI with a likelihood of 50 or more, or with "
            "none given (0). None: NORM without such a statement. Left out: an infarction of "
            "likelihood 15 or 35 alone (`doubtful-infarction`), and records with neither "
            "(`no-infarction-label`)."
        ),
    ),
)
