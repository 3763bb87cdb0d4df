"""The patients of a source, and which of them no site may train on."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fl.data.cohort import Cohort
from fl.datasets.mitdb import DS2
from fl.util.random_streams import stream
from partitions.schemes import PatientTable
from partitions.splits import CENTRAL_SHARES, stratify


@dataclass(frozen=True, kw_only=True)
class SourcePatients:
    """The patients of one source, and which of them are the central test."""

    rows: NDArray[np.int64]  # (example,) of the cohort
    person: NDArray[np.int64]  # (example,) which patient
    positive: NDArray[np.int64]  # (patient, class) examples that show it
    central: NDArray[np.bool_]  # (patient,)
    people: PatientTable


def patients_of_source(cohort: Cohort, source: str, seed: int) -> SourcePatients:
    """Patients of one source. Central are 15%, or for heartbeats on MIT-BIH the records of DS2.

    Source: de Chazal et al. 2004, 10.1109/TBME.2004.827359. Record 201 joins its own person's
    202 there.
    """
    rows = np.flatnonzero(cohort.sources == source)
    names, first, person = np.unique(cohort.patients[rows], return_index=True, return_inverse=True)
    positive = np.zeros((len(names), len(cohort.task.classes)), dtype=np.int64)
    np.add.at(positive, person, cohort.labels[rows] == 1)
    people = PatientTable(
        labels=_main_class(positive),
        sizes=np.bincount(person, minlength=len(names)),
        # A patient recorded on two devices counts for the first.
        groups=cohort.column("groups").astype(np.str_)[rows[first]],
    )
    central = _central(cohort, source, rows, person, positive > 0, seed)
    return SourcePatients(
        rows=rows, person=person, positive=positive, central=central, people=people
    )


def count_groups(cohort: Cohort, sources: Iterable[str], seed: int) -> dict[str, int]:
    """How many recorders, hospitals or devices each source has outside the central test."""
    rolls = {source: patients_of_source(cohort, source, seed) for source in sources}
    return {s: len(np.unique(roll.people.groups[~roll.central])) for s, roll in rolls.items()}


def _central(
    cohort: Cohort,
    source: str,
    rows: NDArray[np.int64],
    person: NDArray[np.int64],
    present: NDArray[np.bool_],
    seed: int,
) -> NDArray[np.bool_]:
    """Which patients of a source are the central test: (patient,)."""
    if cohort.task.exclusive and source == "mitdb":
        in_ds2 = np.isin(cohort.column("recordings")[rows], DS2)
        central = np.zeros(len(present), dtype=bool)
        central[person[in_ds2]] = True
        return central
    subset = stratify(present, CENTRAL_SHARES, stream(seed, "central", source))
    return np.asarray(subset == 1)


def _main_class(positive: NDArray[np.int64]) -> NDArray[np.int64]:
    """The class most of a patient's examples carry, the rarer of two.

    (patient, class) -> (patient,). Patients of no class share a number of their own.
    """
    rarity = np.argsort(np.argsort((positive > 0).sum(axis=0), kind="stable"))
    score = positive * positive.shape[1] - rarity
    main = np.where(positive.any(axis=1), score.argmax(axis=1), positive.shape[1])
    return np.asarray(main, dtype=np.int64)
