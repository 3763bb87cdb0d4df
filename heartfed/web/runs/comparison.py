"""Several runs side by side: the settings that differ, their results, and each class."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fl.runs.overview import PLACES, RunOverview, differing_settings
from fl.runs.results import read_summary
from fl.util.errors import DataError
from heartfed.web.runs.words import figure, score_text, setting_text

MOST_COMPARED = 8
MOST_COLUMNS = 40
# Settings that decide which records are test records.
DECIDE_RECORDS = ("task", "data", "sources", "seed", "seeds", "holdout")


def comparison_of(runs: Sequence[tuple[str, RunOverview]]) -> dict[str, Any]:
    """The tables of the page that compares runs; each column is a training of a run."""
    columns = [(name, run, s) for name, run in runs for s in run.strategies][:MOST_COLUMNS]
    per_class = {name: class_f1s(run.folder) for name, run in runs}
    classes = dict.fromkeys(
        label for found in per_class.values() for of in found.values() for label in of
    )
    differing = differing_settings(run for _, run in runs)
    return {
        "columns": [(name, run, strategy) for name, run, strategy in columns],
        "rows": [
            (place, [score_text(run.scores.get(s, {}).get(place)) for _, run, s in columns])
            for place in PLACES
        ],
        "classes": [
            (label, [per_class[name].get(s, {}).get(label, "n/a") for name, _, s in columns])
            for label in itertools.islice(classes, 50)
        ],
        "settings": [
            (setting_text(name), [setting_text(value) for value in values])
            for name, values in differing.items()
        ],
        "alike": comparable(runs),
    }


def class_f1s(folder: Path) -> dict[str, dict[str, str]]:
    """Training -> class -> F1 on the central test records, with the patients who show the class.

    Empty for a run that is not completed, cannot be read, or is one of several seeds.
    """
    try:
        trainings = read_summary(folder).strategies
    except DataError:
        return {}
    return {
        name: {
            label: f"{figure(found.f1)} ({found.positive_patients} of {found.patients})"
            for label, found in training.central.classes.items()
        }
        for name, training in trainings.items()
        if training.central
    }


def comparable(runs: Sequence[tuple[str, RunOverview]]) -> bool:
    """Whether the runs have the same test records: the same task, data, sources and seed."""
    keys = [tuple(str(run.config.get(k)) for k in DECIDE_RECORDS) for _, run in runs]
    return len(set(keys)) < 2
