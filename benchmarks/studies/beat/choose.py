"""Comparisons by which the settings are chosen: on DS1 and SVDB, never on DS2."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from benchmarks.studies.beat.measures import Measured, measured, measured_on_peaks, record_keys
from benchmarks.studies.beat.recipes import BeatRecipe, train
from benchmarks.studies.beat.recordings import CHOOSING, SOURCES, Detected, Recordings
from benchmarks.studies.beat.splits import folds, of_sources, with_validation
from fl.data.cohort import Cohort
from fl.ecg.beat_features import FEATURES
from fl.ecg.beat_segments import annotated_beats
from fl.ecg.labels import AAMI
from fl.ecg.records import Annotations

DETECTOR = "xqrs"
DATABASES = ("mitdb", "svdb")
ALMOST_NONE = 1e6  # the inverse strength of the regression's penalty


@dataclass(frozen=True)
class Choosing:
    """The beats of DS1 and SVDB, and what is compared on them."""

    recordings: Recordings
    device: str = "cpu"

    @cached_property
    def cohort(self) -> Cohort:
        """Annotated beats."""
        return self.recordings.examples(CHOOSING)

    @cached_property
    def detected(self) -> Detected:
        """Beats that the detector finds in the same records."""
        return self.recordings.detected(CHOOSING, DETECTOR)

    def across_folds(self, recipe: BeatRecipe, seed: int) -> dict[str, Measured]:
        """Every patient of both databases, answered by a network that was not trained on him.

        Of `annotated` beats, and for some recipes of the beats that the detector finds.
        """
        annotated = _Answers(self.cohort)
        found = _Answers(self.detected.cohort) if recipe.on_detected else None
        for number, (rest, tested) in enumerate(folds(self.cohort, seed)):
            used = np.intersect1d(rest, of_sources(self.cohort, recipe.sources))
            rows = with_validation(self.cohort, used, seed, number)
            trained = train(self.cohort, *rows, recipe, seed, self.device)
            annotated.fill(tested, *trained.answers(self.cohort.take(tested)))
            if found is not None:
                patients = np.unique(self.cohort.patients[tested])
                of_fold = np.flatnonzero(np.isin(found.cohort.patients, patients))
                found.fill(of_fold, *trained.answers(found.cohort.take(of_fold)))
        results = {"annotated": annotated.measured()}
        if found is not None:
            results[DETECTOR] = measured_on_peaks(self.detected, found.predicted)
        return results

    def leave_one_out(self, recipe: BeatRecipe, seed: int) -> dict[str, Measured]:
        """Each database answered by a network that only the other one trained and validated.

        The rule has no entry for the tested database, so the pooled operating point answers.
        """
        results = {}
        for tested, trained_on in zip(DATABASES, reversed(DATABASES), strict=True):
            own = of_sources(self.cohort, [trained_on])
            rows = with_validation(self.cohort, own, seed, "leave one out")
            trained = train(self.cohort, *rows, recipe, seed, self.device)
            other = self.cohort.take(of_sources(self.cohort, [tested]))
            results[tested] = measured(other, *trained.answers(other), by_database(other))
        return results

    def fibrillation(self) -> dict[str, float]:
        """The logistic regression of annotated fibrillation on the feature `irregular 60`.

        Over the beats of DS1, each record counted alike. fl/models/early_decision.py has the
        slope, and the value `at` which fibrillation is as probable as not.
        """
        cohort = self.cohort.take(of_sources(self.cohort, ["mitdb"]))
        truth = self._in_fibrillation(cohort)
        names, record = np.unique(record_keys(cohort), return_inverse=True)
        weight = 1 / np.bincount(record)[record]
        feature = cohort.features[:, FEATURES.index("irregular 60")]
        slope, at = logistic(feature, truth, weight)
        return {"slope": slope, "at": at, "records": len(names)}

    def _in_fibrillation(self, cohort: Cohort) -> NDArray[np.bool_]:
        """(example,) whether the rhythm at the beat is annotated as atrial fibrillation."""
        data = self.recordings.data
        at: dict[str, bool] = {}
        for name in np.unique(cohort.column("recordings")).tolist():
            notes = SOURCES["ds1"].read(data, name).annotations
            assert notes is not None
            peaks, _ = annotated_beats(notes)
            names = [f"{name}/{peak:06d}" for peak in peaks.tolist()]
            at |= dict(zip(names, beats_in_rhythm(notes, "(AFIB").tolist(), strict=True))
        return np.array([at[name] for name in cohort.names.tolist()])


class _Answers:
    """The answers to all examples of a cohort, filled in fold by fold."""

    def __init__(self, cohort: Cohort) -> None:
        self.cohort = cohort
        self.p = np.full((len(cohort), len(cohort.task.classes)), np.nan)
        self.predicted = np.full(len(cohort), -1)

    def fill(
        self, rows: NDArray[np.int64], p: NDArray[np.float64], predicted: NDArray[np.int64]
    ) -> None:
        """The answers to some rows, which nobody has answered yet."""
        assert (self.predicted[rows] < 0).all(), "an example is tested twice"
        self.p[rows], self.predicted[rows] = p, predicted

    def measured(self) -> Measured:
        """What all answers together reach; ValueError if one is missing."""
        if (self.predicted < 0).any():
            raise ValueError(f"{(self.predicted < 0).sum()} examples are in no fold")
        return measured(self.cohort, self.p, self.predicted, by_database(self.cohort))


def by_database(cohort: Cohort) -> Mapping[str, Sequence[str]]:
    """The records of each database."""
    keys = np.unique(record_keys(cohort)).tolist()
    found = {name: [key for key in keys if key.startswith(f"{name}/")] for name in DATABASES}
    return {name: records for name, records in found.items() if records}


def logistic(
    feature: NDArray[np.float32], truth: NDArray[np.bool_], weight: NDArray[np.float64]
) -> tuple[float, float]:
    """The slope of a logistic regression, and where both answers are equally probable.

    All three are (example,).
    """
    fitted = LogisticRegression(C=ALMOST_NONE).fit(feature[:, None], truth, sample_weight=weight)
    slope = float(fitted.coef_[0, 0])
    return slope, -float(fitted.intercept_[0]) / slope


def beats_in_rhythm(notes: Annotations, rhythm: str) -> NDArray[np.bool_]:
    """(beat,) whether the last rhythm annotated at or before each beat is this one."""
    inside, current = [], ""
    for symbol, starts in zip(notes.symbols, notes.rhythms, strict=True):
        current = starts or current
        if symbol in AAMI:
            inside.append(current == rhythm)
    return np.array(inside, dtype=bool)
