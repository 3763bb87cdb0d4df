"""What is measured of answered beats: counts of each record, and average precision.

`Measured` is what is stored: `records`, a confusion matrix of each record as text (`as_text`), and
`ap`, for each group of records the average precision of S and V with its interval.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.studies.beat.recordings import Detected
from fl.data.cohort import Cohort
from fl.ecg.labels import BEAT_CLASSES
from fl.evaluation.bootstrap import MIN_INTERVAL_PATIENTS
from fl.evaluation.ec57 import Counts, compare_beats, confusion
from fl.util.random_streams import stream

Measured = dict[str, Any]
Scores = NDArray[np.float64]
LETTERS = (*BEAT_CLASSES, "o")
RANKED = ("S", "V")  # classes with an average precision
DRAWS = 200  # of records, for the interval of an average precision
DECIMALS = 5  # of a stored average precision


def measured(
    cohort: Cohort, p: Scores, predicted: NDArray[np.int64], groups: Mapping[str, Sequence[str]]
) -> Measured:
    """The measures of annotated beats; `groups` are lists of records (`source/record`) by name.

    `p` (example, class) are calibrated probabilities and `predicted` (example,) the answers.
    """
    keys = record_keys(cohort)
    names, record = np.unique(keys, return_inverse=True)
    counts = confusion(cohort.labels.argmax(axis=1), predicted, record, len(names))
    return {
        "records": dict(zip(names.tolist(), map(as_text, counts), strict=True)),
        "ap": {
            group: average_precisions(cohort, p, np.flatnonzero(np.isin(keys, list(records))))
            for group, records in groups.items()
        },
    }


def as_text(counts: Counts) -> str:
    """A confusion matrix in short: `NN 2300 NS 4 So 1` is true N called N, N called S, S missed.

    The last class of six is `o`, as in EC57: a beat that was missed, or a detection that is none.
    """
    true, called = np.nonzero(counts)
    cells = zip(true.tolist(), called.tolist(), counts[true, called].tolist(), strict=True)
    return " ".join(f"{LETTERS[i]}{LETTERS[j]} {count}" for i, j, count in cells)


def from_text(text: str, classes: int) -> Counts:
    """The confusion matrix of `as_text`: (class, class)."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    words = text.split()
    for pair, count in zip(words[::2], words[1::2], strict=True):
        counts[LETTERS.index(pair[0]), LETTERS.index(pair[1])] = int(count)
    return counts


def record_keys(cohort: Cohort) -> NDArray[np.str_]:
    """(example,) its record, e.g. `mitdb/209`."""
    recordings = cohort.column("recordings").astype(np.str_)
    return np.asarray(np.char.add(np.char.add(cohort.sources, "/"), recordings), dtype=np.str_)


def measured_on_peaks(detected: Detected, predicted: NDArray[np.int64]) -> Measured:
    """The measures of detected beats, compared with the annotated ones as EC57 asks.

    The matrices have one class more: missed and false beats. `left_out` counts the annotated and
    the detected beats in ventricular fibrillation. Average precision needs a beat for each
    answer, so there is none. All of each recording is compared, also the first five minutes, so
    that the figures can be set beside those of annotated beats.
    """
    counts, left_out, first = {}, np.zeros(2, dtype=np.int64), 0
    for record in detected.records:
        answers = predicted[first : first + len(record.detected)]
        first += len(answers)
        compared = compare_beats(
            record.annotated,
            record.truth,
            record.detected,
            answers,
            record.fs,
            fibrillation=record.fibrillation,
        )
        counts[record.key] = as_text(compared.counts)
        left_out += compared.beats_left_out, compared.detections_left_out
    return {"records": counts, "ap": {}, "left_out": left_out.tolist()}


def average_precisions(
    cohort: Cohort, p: Scores, rows: NDArray[np.int64]
) -> dict[str, list[float] | None]:
    """Average precision of S and V over these examples, with the ends of its interval.

    The interval is the middle 95% of draws of patients; without it where they are fewer than
    MIN_INTERVAL_PATIENTS. None for a class that no example shows.
    """
    patients, patient = np.unique(cohort.patients[rows], return_inverse=True)
    rng = stream(0, "beat study", "draws", len(patients))
    draws = DRAWS if len(patients) >= MIN_INTERVAL_PATIENTS else 0
    picks = rng.integers(0, len(patients), size=(draws, len(patients)))
    weights = [np.bincount(row, minlength=len(patients)).astype(float) for row in picks]
    found: dict[str, list[float] | None] = {}
    for name in RANKED:
        column = BEAT_CLASSES.index(name)
        ranking = _Ranking(cohort.labels[rows, column] == 1, p[rows, column], patient)
        value = ranking.average_precision(np.ones(len(patients)))
        drawn = [ranking.average_precision(w) for w in weights]
        known = [one for one in drawn if one is not None]
        ends = np.percentile(known, [2.5, 97.5]).tolist() if known else []
        found[name] = None if value is None else [round(v, DECIMALS) for v in (value, *ends)]
    return found


class _Ranking:
    """Examples in order of a score, sorted once for all draws of patients."""

    def __init__(
        self, positive: NDArray[np.bool_], score: Scores, patient: NDArray[np.int64]
    ) -> None:
        order = np.argsort(-score, kind="stable")
        self.positive, self.patient = positive[order], patient[order]
        # Examples with equal scores are answered together: only the last one ends a threshold.
        self.ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))

    def average_precision(self, weights: Scores) -> float | None:
        """With each patient weighted (patient,); None without a positive."""
        weight = weights[self.patient]
        true = (weight * self.positive).cumsum()[self.ends]
        if not len(true) or not true[-1]:
            return None
        precision = true / np.maximum(weight.cumsum()[self.ends], 1e-12)
        gained = np.diff(true, prepend=0.0)
        return float((precision * gained).sum() / true[-1])


def counts_of(run: Measured, *, of: str = "", without: Sequence[str] = ()) -> Counts:
    """Counts (record, true class, predicted class) in the order of record names.

    `of` is a database, or "" for all; the records `without` are left out.
    """
    records = run["records"]
    kept = [
        key
        for key in sorted(records)
        if key.startswith(f"{of}/" if of else "") and key.split("/")[1] not in without
    ]
    classes = len(LETTERS) if "left_out" in run else len(BEAT_CLASSES)
    counts = [from_text(records[key], classes) for key in kept]
    return np.array(counts, dtype=np.int64).reshape(len(kept), classes, classes)
