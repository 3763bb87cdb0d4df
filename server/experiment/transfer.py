"""A run that starts from a saved model: what is checked, kept and reported."""

import csv
from pathlib import Path

from fl.reports.transfer_text import transfer_line
from fl.runs.run_facts import TransferFacts
from fl.runs.run_record import RunRecord
from partitions.partition import CENTRAL, UNSEEN
from partitions.splits import TEST
from server.experiment.prepare import PARTITION

Patients = set[tuple[str, str]]  # source, patient


def record_transfer(record: RunRecord, facts: TransferFacts) -> str:
    """Add to run.json how many test patients the saved model knows; the line to be shown."""
    if facts.test_patients is None:
        tested = _patients(record.folder / PARTITION, tested=True)
        # RUN/weights/NAME.safetensors, unless the file was copied elsewhere.
        trained = _patients(Path(facts.file).absolute().parent.parent / PARTITION, tested=False)
        counted = {
            "test_patients": len(tested),
            "seen_patients": len(tested & trained) if trained else None,
        }
        facts = TransferFacts(**(facts.to_json() | counted))
        record.update(transfer=facts.to_json())
    return transfer_line(facts)


def _patients(path: Path, tested: bool) -> Patients:
    """Patients of a partition.csv: those tested, or those that sites train on and validate.

    None where the file is not there or is no partition.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return {
                (row["source"], row["patient"])
                for row in csv.DictReader(file)
                if (row["split"] == TEST) == tested
                and (tested or row["site"] not in (CENTRAL, UNSEEN))
            }
    except (OSError, UnicodeDecodeError, csv.Error, KeyError):
        return set()
