"""A run that starts from a saved model: what is checked, kept and reported."""

import csv
from pathlib import Path

from fl.config.run_config import RunConfig
from fl.privacy.differential_privacy.guarantee import is_private
from fl.reports.transfer_text import transfer_line
from fl.runs.run_facts import TransferFacts
from fl.runs.run_record import RunRecord
from fl.util.errors import ConfigError
from partitions.partition import CENTRAL, UNSEEN
from partitions.splits import TEST
from server.experiment.prepare import PARTITION

Patients = set[tuple[str, str]]  # source, patient


def record_transfer(record: RunRecord, facts: TransferFacts, config: RunConfig) -> str:
    """Add to run.json how many of its patients the saved model knows; the line to be shown.

    `ConfigError` where the run promises its patients a privacy that the saved model does not keep.
    """
    if facts.test_patients is None:
        tested = _patients(record.folder / PARTITION, tested=True)
        dealt = _patients(record.folder / PARTITION, tested=False)
        # Those of a synthetic source are no patients, and are promised nothing.
        trained = {one for one in dealt if one[0] not in record.content["synthetic"]}
        # RUN/weights/NAME.safetensors, unless the file was copied elsewhere.
        known = _patients(Path(facts.file).absolute().parent.parent / PARTITION, tested=False)
        counted = {
            "test_patients": len(tested),
            "seen_patients": len(tested & known) if known else None,
            "training_patients": len(trained),
            "seen_in_training": len(trained & known) if _covers(known, trained, facts) else None,
        }
        facts = TransferFacts(**(facts.to_json() | counted))
        if is_private(config):
            _require_unknown(facts)
        record.update(transfer=facts.to_json())
    return transfer_line(facts)


def _covers(known: Patients, trained: Patients, facts: TransferFacts) -> bool:
    """Whether `known` has everyone of this run's sources who trained the saved model."""
    told = {source for source, _ in known}
    untold = {*facts.earlier_sources, *(set(facts.sources) - told)}
    named = bool(known or facts.sources)
    return not trained or (named and not untold & {source for source, _ in trained})


def _require_unknown(facts: TransferFacts) -> None:
    """`ConfigError` unless the saved model knows none of the patients whom the run trains on.

    Its weights are published as they are, so that no noise hides what they hold of a patient.
    """
    if facts.seen_in_training == 0:
        return
    found = (
        "it is not known whether this run's patients trained that model: no partition.csv of its "
        "run lies in the folder above it, or it started from a model of the same sources"
        if facts.seen_in_training is None
        else f"{facts.seen_in_training} of the {facts.training_patients} patients whom this run "
        "trains or validates were among those that trained or validated that model"
    )
    raise ConfigError(
        f"--init-from {facts.file}: {found}. With --dp patient its weights are published as they "
        "are, and would tell of them. Accepted: a model of other sources, or of other patients in "
        "its own run directory."
    )


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
