"""The test on DS2: trainings of the frozen recipe, each tested once per seed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from benchmarks.studies.beat.measures import Measured, measured, measured_on_peaks, record_keys
from benchmarks.studies.beat.recipes import CAUSAL_MODEL, PROPOSED, BeatRecipe, Trained, train
from benchmarks.studies.beat.recordings import CHOOSING, Detected, Recordings
from benchmarks.studies.beat.splits import of_sources, random_beats, strict, with_validation
from fl.data.cohort import Cohort

MOST_S = "232"  # the record with three quarters of the S beats of DS2
DETECTORS = ("xqrs", "gqrs")
CAUSAL_TASK = "beat-causal"
Results = dict[str, Measured]

CAUSAL = replace(PROPOSED, model=CAUSAL_MODEL)
# Protocol -> the recipe that it trains.
PROTOCOLS: Mapping[str, BeatRecipe] = {
    "strict": PROPOSED,
    "standard": PROPOSED,
    "DS1 alone, standard": replace(PROPOSED, sources=("mitdb",)),
    "intra": replace(PROPOSED, sources=("mitdb",)),
    "causal": CAUSAL,
}


@dataclass(frozen=True)
class OnDS2:
    """The beats that train and those of DS2, and the protocols."""

    recordings: Recordings
    device: str = "cpu"

    def run(self, protocol: str, seed: int) -> Results:
        """Train by a protocol of PROTOCOLS and test: of annotated beats, `strict` of detected."""
        recipe = PROTOCOLS[protocol]
        if protocol == "intra":
            return self._intra(recipe, seed)
        task = CAUSAL_TASK if protocol == "causal" else "beat"
        cohort = self.recordings.examples(CHOOSING, task)
        rows = of_sources(cohort, recipe.sources)
        rows = rows if "standard" in protocol else strict(cohort, rows)
        validating = with_validation(cohort, rows, seed, "ds2")
        trained = train(cohort, *validating, recipe, seed, self.device)
        test = self.annotated if task == "beat" else self.recordings.examples(("ds2",), task)
        results = {"annotated": tested(test, trained)}
        if protocol == "strict":
            for detector in DETECTORS:
                found = self.detected[detector]
                results[detector] = measured_on_peaks(found, trained.answers(found.cohort)[1])
        return results

    def _intra(self, recipe: BeatRecipe, seed: int) -> Results:
        cohort = self.recordings.examples(("ds1", "ds2"))
        trains, validates, tests = random_beats(cohort, seed)
        trained = train(cohort, trains, validates, recipe, seed, self.device)
        return {"annotated": tested(cohort.take(tests), trained)}

    @cached_property
    def detected(self) -> Mapping[str, Detected]:
        """The beats that each detector finds in DS2."""
        return {name: self.recordings.detected(("ds2",), name) for name in DETECTORS}

    @cached_property
    def annotated(self) -> Cohort:
        """The annotated beats of DS2."""
        return self.recordings.examples(("ds2",))


def tested(cohort: Cohort, trained: Trained) -> Measured:
    """The measures of annotated beats, of all records and of all but 232."""
    return measured(cohort, *trained.answers(cohort), with_and_without(cohort))


def with_and_without(cohort: Cohort) -> dict[str, list[str]]:
    """The records of a cohort, all and without 232."""
    keys = np.unique(record_keys(cohort)).tolist()
    return {"all": keys, f"without {MOST_S}": [k for k in keys if not k.endswith(f"/{MOST_S}")]}
