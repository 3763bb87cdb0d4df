"""Synthetic recordings as files: an own folder, for trying what hospitals do with theirs."""

from dataclasses import dataclass, replace
from pathlib import Path

from fl.datasets.readers import wfdb_access
from fl.datasets.readers.labels_table import TABLE
from fl.datasets.readers.source_settings import COMPLETE, SETTINGS
from fl.datasets.synthetic.cohort import SYNTHETIC
from fl.ecg.records import Record
from fl.util.errors import ConfigError

SECONDS = (10.0, 12.0)  # length of a recording
STEPS = 1000.0  # of the files, per mV


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written: how many recordings, of how many synthetic patients."""

    records: int
    patients: int


def write_synthetic_folder(folder: Path, records: int, seed: int) -> Written:
    """Write twelve-lead WFDB recordings (500 Hz, mV) with `labels.csv` and `source.toml`.

    The same seed writes the same; names of recordings and patients hold the seed, so that folders
    of different seeds share none. `ConfigError` if the folder is there already, or cannot be made.
    """
    for flag, value, least in (("--records", records, 1), ("--seed", seed, 0)):
        if value < least:
            raise ConfigError(f"{flag} is {value}. Accepted: {least} or more.")
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise ConfigError(
            f"{folder}: is there already. Name a folder that does not exist yet."
        ) from None
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made ({error.strerror}).") from None
    cohort = replace(SYNTHETIC, n_records=records, seed=seed, seconds=SECONDS)
    lines, patients = ["record,patient,labels,age,sex"], set()
    for index, name in enumerate(cohort.record_names(folder)):
        record = cohort.read(folder, name)
        written, patient = f"synthetic-{seed}-{name}", f"synthetic-{seed}-{record.patient}"
        _write(record, folder, written)
        shown = ";".join(cohort.patient(index).labels)
        lines.append(f"{written},{patient},{shown},{record.age:.0f},{record.sex}")
        patients.add(patient)
    (folder / TABLE).write_text("\n".join(lines) + "\n")
    (folder / SETTINGS).write_text(
        f"# Synthetic recordings, of no real people.\n{COMPLETE} = true\n"
    )
    return Written(records=records, patients=len(patients))


def _write(record: Record, folder: Path, name: str) -> None:
    n = len(record.leads)
    wfdb_access.call(
        "wrsamp",
        name,
        fs=record.fs,
        units=["mV"] * n,
        sig_name=list(record.leads),
        p_signal=record.signal.T.astype(float),
        fmt=["16"] * n,
        adc_gain=[STEPS] * n,
        baseline=[0] * n,
        comments=["Synthetic recording, made by a computer"],
        write_dir=str(folder),
    )
