"""Cohorts that exist only in memory, without a signal: for tests of who goes where."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from fl.data.cohort import Cohort
from fl.data.shards import Shard
from fl.ecg.tasks import RHYTHM, RHYTHM_SIGNAL


def made_shard(patients, labels=None, source="made-up", task=RHYTHM, **columns):
    """The shard of `made_cohort`."""
    n = len(patients)
    names = np.array([f"R{i:03d}" for i in range(n)], dtype=np.str_)
    shown = np.zeros((n, len(task.classes)), dtype=np.int8)
    for row, numbers in enumerate(labels or []):
        shown[row, list(numbers)] = 1
    fields = {
        "names": names,
        "recordings": names,
        "groups": np.full(n, "", dtype="U9"),
        "first_labels": np.full(n, "", dtype="U9"),
        "sexes": np.full(n, "", dtype="U9"),
        "ages": np.full(n, np.nan, dtype=np.float32),
        "labels": shown,
        "features": np.zeros((n, 0), dtype=np.float32),
        "detector_features": np.zeros((n, 0), dtype=np.float32),
        "lead_mask": np.ones((n, task.leads), dtype=bool),
        "offsets": np.zeros(n, dtype=np.int64),
        "lengths": np.ones(n, dtype=np.int64),
        "signals": np.zeros(99, dtype=np.float16),
    }
    fields |= {name: np.asarray(column) for name, column in columns.items()}
    return Shard(
        path=Path(),
        source=source,
        digest="",
        patients=np.array(list(patients)),
        excluded={},
        fingerprints={},
        **fields,
    )


def made_cohort(patients, labels=None, source="made-up", task=RHYTHM, **columns):
    """One example for each name in `patients`; `labels` are the numbers of its classes."""
    return Cohort.of(task, [made_shard(patients, labels, source, task, **columns)])


def without_features(cohort: Cohort) -> Cohort:
    """A cohort of the rhythm task as one of `rhythm-signal`, whose networks see signals alone."""
    shards = tuple(replace(shard, features=shard.features[:, :0]) for shard in cohort.shards)
    return replace(cohort, task=RHYTHM_SIGNAL, shards=shards)
