"""The study's table of one task, from its run directories and measurements."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.studies.models.settings import SETTINGS, STRATEGIES
from fl.config.run_config import LOCAL, POOLED
from fl.ecg.tasks import TASKS, Task
from fl.evaluation.predictions import Predictions
from fl.reports.number_format import number
from fl.runs.results import RunSummary, TrainingSummary

TRAININGS = (LOCAL, POOLED, *STRATEGIES)


def share_right(found: Predictions, task: Task, summary: TrainingSummary) -> float | None:
    """Accuracy: of examples whose class is right; without exclusive classes, the mean one-vs-rest.

    The second is the accuracy of the ResLSTM-TemporalSE abstract: high for rare classes, whatever
    the network does.
    """
    if not task.exclusive:
        return summary.central.accuracy if summary.central else None
    if not len(found):
        return None
    return float(np.mean(found.labels.argmax(axis=1) == found.decided.argmax(axis=1)))


def row(name: str, result: Mapping[str, Any], task: Task) -> str:
    """One network's line of the table."""
    cells = [name, f"{result['parameters']:,}", f"{result['seconds_per_pass']:.2g}"]
    for training in TRAININGS:
        measures = result["trainings"][training]
        # The local models are many: a single accuracy of all of them would mix their thresholds.
        keys = ("macro_f1", "macro_auroc") if training == LOCAL else MEASURES
        cells.append(" / ".join(_shown(measures[key]) for key in keys))
    if SETTINGS[task.name].random_split:
        cells.append(" / ".join(_shown(result["random_split"][key]) for key in MEASURES))
    return f"| {' | '.join(cells)} |"


MEASURES = ("accuracy", "macro_f1", "macro_auroc")


def _shown(value: float | None) -> str:
    return "n/a" if value is None else number(value)


def measures_of(
    summary: RunSummary, predictions: Mapping[str, Predictions], task: Task
) -> dict[str, dict[str, float | None]]:
    """The three measures of each training on the central test records."""
    found: dict[str, dict[str, float | None]] = {}
    for training in TRAININGS:
        result = summary.strategies[training]
        central = result.central
        found[training] = {
            "accuracy": (
                None if training == LOCAL else share_right(predictions[training], task, result)
            ),
            "macro_f1": central.macro_f1.value if central else None,
            "macro_auroc": central.macro_auroc.value if central else None,
        }
    return found


def table(task_name: str, results: Mapping[str, Mapping[str, Any]], seed: int) -> list[str]:
    """The lines of one task."""
    task, settings = TASKS[task_name], SETTINGS[task_name]
    titles = [
        f"{name}: " + ("F1 / AUROC" if name == LOCAL else "acc / F1 / AUROC") for name in TRAININGS
    ]
    if settings.random_split:
        titles.append("**leaks**: pooled, beats split at random: acc / F1 / AUROC")
    first = next(iter(results.values()))
    accuracy = (
        "*acc* is the share of test examples whose class is right."
        if task.exclusive
        else "*acc* is the mean one-vs-rest accuracy over the averaged classes."
    )
    limit = (
        f", at most {settings.per_recording} examples of a recording in each"
        if settings.per_recording
        else ""
    )
    return [
        f"**`{task_name}`**: {settings.passes} passes ({settings.rounds} rounds of "
        f"{settings.local_epochs}){limit}, {settings.clients} sites, seed {seed}; "
        f"{first['n_test']:,} central test examples of {first['n_patients']} patients of no site. "
        f"{accuracy} F1 and AUROC are macro averages over "
        f"{', '.join(first['macro_classes']) or 'no class'}.",
        "",
        f"| network | weights | s per pass | {' | '.join(titles)} |",
        f"| --- | --- | --- | {'--- | ' * len(titles)}".rstrip(),
        *(row(name, result, task) for name, result in results.items()),
    ]
