"""The patients of a source, and which of them no site may train on."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fl.data.cohort import Cohort
from fl.datasets.mitdb import DS2, PACED_TEST
from fl.util.random_streams import stream
from partitions.schemes import PatientTable
from partitions.splits import CENTRAL_SHARES, stratify


@dataclass(frozen=True, kw_only=True)
class SourcePatients:
    """The patients of one source, and which of them are the central test set."""

    rows: NDArray[np.int64]  # (example,) row of the cohort
    number: NDArray[np.int64]  # (example,) number of its patient
    positive: NDArray[np.int64]  # (patient, class) number of examples that show the class
    central: NDArray[np.bool_]  # (patient,) whether in the central test set
    table: PatientTable


def patients_of_source(cohort: Cohort, source: str, seed: int) -> SourcePatients:
    """The patients of one source; 15% of them are central.

    For heartbeats of MIT-BIH the central patients are those of DS2 (de Chazal et al. 2004,
    10.1109/TBME.2004.827359), and record 201 with them, because its patient is that of 202. The
    beat7 task keeps paced records, two of which are there as well (PACED_TEST).
    """
    rows = np.flatnonzero(cohort.sources == source)
    names, first, number = np.unique(cohort.patients[rows], return_index=True, return_inverse=True)
    positive = np.zeros((len(names), len(cohort.task.classes)), dtype=np.int64)
    np.add.at(positive, number, cohort.labels[rows] == 1)
    table = PatientTable(
        labels=_main_class(positive),
        sizes=np.bincount(number, minlength=len(names)),
        # A patient who was recorded on two devices belongs to the first.
        groups=cohort.column("groups").astype(np.str_)[rows[first]],
    )
    central = _central(cohort, source, rows, number, positive > 0, seed)
    return SourcePatients(rows=rows, number=number, positive=positive, central=central, table=table)


def count_groups(cohort: Cohort, sources: Iterable[str], seed: int) -> dict[str, int]:
    """Number of recorders, hospitals or devices of each source, without its central patients."""
    patients = {source: patients_of_source(cohort, source, seed) for source in sources}
    return {s: len(np.unique(p.table.groups[~p.central])) for s, p in patients.items()}


def _central(
    cohort: Cohort,
    source: str,
    rows: NDArray[np.int64],
    number: NDArray[np.int64],
    present: NDArray[np.bool_],
    seed: int,
) -> NDArray[np.bool_]:
    """Which patients of a source are the central test set: (patient,)."""
    if cohort.task.exclusive and source == "mitdb":
        tested = (*DS2, *PACED_TEST) if cohort.task.whole_beats else DS2
        in_ds2 = np.isin(cohort.column("recordings")[rows], tested)
        central = np.zeros(len(present), dtype=bool)
        central[number[in_ds2]] = True
        return central
    subset = stratify(present, CENTRAL_SHARES, stream(seed, "central", source))
    return np.asarray(subset == 1)


def _main_class(positive: NDArray[np.int64]) -> NDArray[np.int64]:
    """The class that most of a patient's examples show: (patient, class) -> (patient,).

    Of two equally frequent classes, the one that fewer patients have. Patients without any class
    get the number after the last class.
    """
    rarity = np.argsort(np.argsort((positive > 0).sum(axis=0), kind="stable"))
    score = positive * positive.shape[1] - rarity
    main = np.where(positive.any(axis=1), score.argmax(axis=1), positive.shape[1])
    return np.asarray(main, dtype=np.int64)
