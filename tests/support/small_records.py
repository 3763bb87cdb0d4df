"""Small WFDB records, written here so that no recording of a patient is in the repository."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fl.datasets.base import Source
from fl.datasets.readers import wfdb_access
from fl.ecg.records import LEADS, Record
from fl.util.errors import UnusableRecord

MAT_HEADER = 24  # bytes before the samples in a Challenge file


def waves(leads: int, samples: int, seed: int = 0) -> np.ndarray:
    """(sample, lead) mV: a beat once a second with noise, different in each lead."""
    rng = np.random.default_rng([seed, leads])
    t = np.arange(samples) / 500
    beat = np.exp(-(((t % 1.0) - 0.5) ** 2) / 2e-4)
    return np.outer(beat, rng.uniform(0.4, 1.2, leads)) + rng.normal(0, 0.02, (samples, leads))


def write(
    folder: Path,
    name: str,
    *,
    leads: Sequence[str] = LEADS,
    fs: float = 500,
    seconds: float = 8,
    comments: Sequence[str] = (),
    signal: np.ndarray | None = None,
    unit: str = "mV",
    mat: bool = False,
    seed: int = 0,
) -> Path:
    """Write `name`.hea with `.dat` or `.mat`, and return its path without suffix."""
    folder.mkdir(parents=True, exist_ok=True)
    if signal is None:
        signal = waves(len(leads), round(seconds * fs), seed)
    wfdb_access.call(
        "wrsamp",
        name,
        fs=fs,
        units=[unit] * len(leads),
        sig_name=list(leads),
        p_signal=signal,
        fmt=["16"] * len(leads),
        adc_gain=[1000.0] * len(leads),
        baseline=[0] * len(leads),
        comments=list(comments),
        write_dir=str(folder),
    )
    stem = folder / name
    if mat:
        as_mat(stem)
    return stem


def as_mat(stem: Path) -> None:
    """Turn `.dat` into the `.mat` of the Challenges: the same samples after 24 bytes."""
    dat, header = stem.with_suffix(".dat"), stem.with_suffix(".hea")
    stem.with_suffix(".mat").write_bytes(b"\1" * MAT_HEADER + dat.read_bytes())
    dat.unlink()
    text = header.read_text().replace(f"{stem.name}.dat 16 ", f"{stem.name}.mat 16+24 ")
    header.write_text(text)


def challenge(folder: Path, name: str, dx: str = "59118001", **options: Any) -> Path:
    """Write a record as in the Challenge's copy of CPSC2018."""
    comments = [f"Age: {options.pop('age', 74)}", "Sex: Male", f"Dx: {dx}", "Rx: Unknown"]
    return write(folder, name, comments=comments, mat=True, **options)


def holter(
    folder: Path,
    name: str,
    *,
    leads: Sequence[str] = ("MLII", "V1"),
    comment: str = "69 M 1085 1629 x1",
    symbols: str = "+NNVNA",
    **options: Any,
) -> Path:
    """Write a record like those of MIT-BIH: 360 Hz, two leads, annotated beats."""
    stem = write(folder, name, leads=leads, fs=360, comments=[comment], **options)
    annotate(stem, symbols, step=300)
    return stem


def annotate(stem: Path, symbols: str, step: int) -> None:
    """Write `stem`.atr with one annotation every `step` samples."""
    wfdb_access.call(
        "wrann",
        stem.name,
        "atr",
        sample=np.arange(1, len(symbols) + 1) * step,
        symbol=list(symbols),
        aux_note=["(N" if symbol == "+" else "" for symbol in symbols],
        write_dir=str(stem.parent),
    )


def svdb(
    root: Path, name: str, symbols: str = "NSVJ", leads: Sequence[str] = ("ECG1", "ECG2")
) -> Path:
    """Write a record like those of SVDB: 128 Hz, unnamed leads, no comment, no gain."""
    stem = write(root / "svdb", name, leads=leads, fs=128, seed=int(name))
    header = stem.with_suffix(".hea")
    header.write_text(header.read_text().replace("1000.0(0)/mV", "0"))
    annotate(stem, symbols, step=100)
    return stem


INCART_COMMENTS = (
    "<age>: 65 <sex>: F <diagnoses> Coronary artery disease",
    "patient 1",
    "PVCs, noise",
)


def incart(
    root: Path,
    name: str,
    symbols: str = "NnVB",
    comments: Sequence[str] = INCART_COMMENTS,
    folder: str = "incart",
) -> Path:
    """Write a record like those of INCART: 257 Hz, twelve leads, the person in comments."""
    leads = [lead.upper() for lead in LEADS]
    stem = write(root / folder, name, leads=leads, fs=257, comments=comments, seed=int(name[1:]))
    annotate(stem, symbols, step=200)
    return stem


PTBXL_COLUMNS = "ecg_id,patient_id,age,sex,site,scp_codes,filename_lr,filename_hr"


def ptbxl(
    root: Path,
    number: int = 1,
    codes: str = "{'NORM': 100.0, 'SR': 0.0}",
    patient: str = "15709.0",
    age: str = "56.0",
    path: str = "",
    fs: float = 100,
) -> Path:
    """Write a record of PTB-XL and its line in the table."""
    name = f"{number:05d}"
    table = root / "ptbxl" / "ptbxl_database.csv"
    low, high = f"records100/00000/{name}_lr", f"records500/00000/{name}_hr"
    stem = root / "ptbxl" / (low if fs == 100 else high)
    write(stem.parent, stem.name, fs=fs, seed=number)
    lines = table.read_text() if table.exists() else f"{PTBXL_COLUMNS}\n"
    table.write_text(
        f'{lines}{number},{patient},{age},1,2.0,"{codes}",{path or low},{path or high}\n'
    )
    return stem


def edit(path: Path, old: str, new: str) -> None:
    """Replace text in a file; fails if the file does not have it."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def outcome(source: Source, root: Path, name: str) -> Record | str:
    """The record, or the verdict why it cannot be used."""
    try:
        return source.read(root, name)
    except UnusableRecord as verdict:
        return verdict.reason
