"""MIT-BIH Arrhythmia Database: half-hour Holter recordings with every beat annotated."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fl.datasets.base import Card
from fl.datasets.readers import wfdb_access
from fl.datasets.readers.challenge_records import age_years, sex_letter
from fl.datasets.readers.wfdb_signals import Waveform, read_own_file, read_waveform
from fl.datasets.record_discovery import data_files, find_stem, record_stems, require_records
from fl.ecg.labels import AAMI
from fl.ecg.records import Annotations, Record
from fl.util.errors import UnusableRecord

# Training and test records of the inter-patient protocol (de Chazal, O'Dwyer & Reilly 2004,
# 10.1109/TBME.2004.827359); paced records are in neither, as ANSI/AAMI EC57 requires.
# fmt: off
_DS1 = (
    101, 106, 108, 109, 112, 114, 115, 116, 118, 119, 122,
    124, 201, 203, 205, 207, 208, 209, 215, 220, 223, 230,
)
_DS2 = (
    100, 103, 105, 111, 113, 117, 121, 123, 200, 202, 210,
    212, 213, 214, 219, 221, 222, 228, 231, 232, 233, 234,
)
# fmt: on
DS1 = tuple(map(str, _DS1))
DS2 = tuple(map(str, _DS2))
PACED = ("102", "104", "107", "217")

# 201 and 202 are recordings of the same man, although 201 is in DS1 and 202 in DS2.
SAME_PATIENT = {"202": "201"}


@dataclass(frozen=True, kw_only=True)
class MitBih:
    """A folder in the format of MIT-BIH: `.hea`, `.dat` and beat annotations in `.atr`."""

    card: Card
    folder: str

    def exists(self, root: Path) -> bool:
        return (root / self.folder).is_dir()

    def record_names(self, root: Path) -> list[str]:
        folder = root / self.folder
        names = list(record_stems(folder))
        return require_records(self.card, folder, names, ".hea, .dat and .atr files")

    def files(self, root: Path) -> list[Path]:
        return data_files(root / self.folder)

    def read(self, root: Path, name: str) -> Record:
        wave = self.waveform(root, name)
        age, sex, recorder = first_comment(wave.comments)
        return Record(
            source=self.card.name,
            name=name,
            patient=SAME_PATIENT.get(name, name),
            signal=wave.signal,
            leads=wave.leads,
            fs=wave.fs,
            labels=None,
            annotations=beat_annotations(find_stem(root / self.folder, name), name, wave),
            group=recorder,
            age=age_years(age),
            sex=sex_letter(sex),
        )

    def waveform(self, root: Path, name: str) -> Waveform:
        """The signal, whatever its annotations are."""
        stem = find_stem(root / self.folder, name)
        return read_waveform(stem, name=name, rates=self.card.rates, unit=self.card.unit)


def first_comment(comments: Sequence[str]) -> tuple[str, str, str]:
    """Age, sex and recorder in the comment `69 M 1085 1629 x1`; field 4 is the recorder's number.

    A field that is missing is "".
    """
    fields = [*(comments[0].split() if comments else []), "", "", "", ""]
    return fields[0], fields[1], fields[3] if fields[3].isdigit() else ""


def beat_annotations(stem: Path, name: str, wave: Waveform) -> Annotations:
    """The annotations in `stem`.atr; `UnusableRecord` if they do not fit the signal."""
    path = stem.parent / f"{stem.name}.atr"
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


def _read_annotations(stem: Path, name: str) -> Any:
    try:
        return wfdb_access.beats(stem)
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


MITDB = MitBih(
    folder="mitdb",
    card=Card(
        name="mitdb",
        title="MIT-BIH Arrhythmia Database 1.0.0",
        leads=("II", "V1", "V2", "V4", "V5"),
        rates=(360.0,),
        # Beats and rhythms are annotated, ST changes and AV block are not.
        annotates=("NSR", "AF", "LBBB", "RBBB", "PAC", "PVC"),
        mapping=(
            "Beat and rhythm annotations per 10 s window: `(N` throughout with normal beats only "
            "is NSR, `(AFIB` for half the window AF, half the beats L or R a bundle branch "
            "block, any A or a PAC, any V PVC. Beat classes as in ANSI/AAMI EC57."
        ),
        patients="One record per patient, but 201 and 202 are the same man.",
        licence="ODC-By 1.0",
        citation=(
            "Moody GB, Mark RG. The impact of the MIT-BIH Arrhythmia Database. IEEE Eng Med Biol "
            "2001;20(3):45-50, doi:10.1109/51.932724. Goldberger AL, et al. PhysioBank, "
            "PhysioToolkit, and PhysioNet. Circulation 2000;101(23):e215-e220."
        ),
        url="https://physionet.org/content/mitdb/1.0.0/",
    ),
)
