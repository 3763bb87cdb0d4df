"""Simulated recordings of a site's rare classes, for its training alone: `--simulated-rare`.

They are synthetic and always called so. They are in no validation or test set, they are nobody's,
and a site has no more weight in the average for having them.
"""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from fl.data.cohort import Cohort
from fl.data.shards import Shard, columns_of_record, join_columns
from fl.datasets.synthetic.rare_classes import RareClasses
from fl.ecg.labels import RHYTHM_CLASSES
from fl.ecg.records import LEADS
from fl.ecg.tasks import TASKS, Task
from fl.util.errors import ConfigError

BEAT_SECONDS = 60.0  # of a recording that is cut into beats: features compare a beat with others
# What a simulated recording shows so that its beats have a class of a beat task.
BEATS_OF = {"S": "PAC", "A": "PAC", "V": "PVC", "L": "LBBB", "R": "RBBB"}


def simulated_as(task: Task) -> dict[str, str]:
    """The classes of a task that can be simulated, and what such a recording shows."""
    known = BEATS_OF if task.exclusive else {name: name for name in RHYTHM_CLASSES}
    rare = [name for name in task.trainable if name not in (task.alone, task.otherwise)]
    return {name: known[name] for name in rare if name in known}


def check_simulated(n: int, task: Task) -> None:
    """`ConfigError` if recordings are asked for and none of the task's classes is simulated."""
    if n and not simulated_as(task):
        raise ConfigError(
            f"--simulated-rare is {n}, but the simulator has no class of the {task.name} task "
            f"({', '.join(task.classes)}). Accepted: 0, or another --task (rhythm, beat)."
        )


def rare_class_counts(cohort: Cohort, n: int) -> dict[str, int]:
    """How many of `n` simulated recordings show each class, for a site's training examples.

    One after the other goes to the class that then has the fewest patients and simulated
    recordings; of equal ones the first in the task's order. A class that the site does not
    annotate is unknown there and not rare.
    """
    classes = cohort.task.classes
    patients = cohort.count_patients(cohort.labels == 1)
    annotated = _annotated(cohort)
    names = [c for c in simulated_as(cohort.task) if annotated[classes.index(c)]]
    have = {name: int(patients[classes.index(name)]) for name in names}
    made = dict.fromkeys(names, 0)
    for _ in range(n if names else 0):
        rarest = min(names, key=lambda name: have[name] + made[name])
        made[rarest] += 1
    return {name: count for name, count in made.items() if count}


def simulated_recordings(cohort: Cohort, n: int, seed: int, site: str) -> list[Shard]:
    """The examples of `n` simulated recordings for a site's training; none for a site without any.

    They have the site's leads and leave the classes open that the site does not annotate: else
    they would train weights of which the site has no evidence of its own.
    """
    counts = rare_class_counts(cohort, n) if len(cohort) else {}
    if not counts:
        return []
    leads = tuple(np.asarray(cohort.lead_mask.any(axis=0)).tolist())
    task = cohort.task.name
    return [_simulated(task, tuple(counts.items()), leads, _annotated(cohort), seed, site)]


def _annotated(cohort: Cohort) -> tuple[bool, ...]:
    """(class,) whether any of the examples is annotated for it."""
    return tuple(np.asarray((cohort.labels >= 0).any(axis=0)).tolist())


# The sites of one process, each of which asks again in every round.
@lru_cache(maxsize=64)
def _simulated(
    task_name: str,
    counts: tuple[tuple[str, int], ...],
    leads: tuple[bool, ...],
    known: tuple[bool, ...],
    seed: int,
    site: str,
) -> Shard:
    task = TASKS[task_name]
    shows = simulated_as(task)
    shown = tuple(shows[name] for name, count in counts for _ in range(count))
    if task.exclusive:
        beats = (BEAT_SECONDS, BEAT_SECONDS)
        source = replace(
            RareClasses.of(site, shown, ("II",), seed, seconds=beats), fs=360.0, holter=True
        )
    else:
        names = tuple(lead for lead, present in zip(LEADS, leads, strict=True) if present)
        source = RareClasses.of(site, shown, names, seed)
    parts, samples = [], []
    for name in source.record_names(Path()):
        record = source.read(Path(), name)
        columns, signal = columns_of_record(task, name, record, task.make_examples(record))
        parts.append(columns)
        samples.append(signal)
    joined = join_columns(parts)
    joined["labels"] = np.where(np.array(known), joined["labels"], -1).astype(np.int8)
    return Shard(
        path=Path(),
        source=source.name,
        digest="",
        excluded={},
        fingerprints={},
        beats_without_class=None,
        signals=np.concatenate(samples),
        **joined,
    )
