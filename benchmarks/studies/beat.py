"""Heartbeats between patients: trained on DS1, measured once on DS2, by ANSI/AAMI EC57.

    python -m benchmarks.studies.beat --data-dir DATA [--seeds 0,1,2] [--cv]
        [--detector xqrs] [--causal]

`--cv` is the cross-validation over the records of DS1 by which every setting was chosen; it never
opens DS2. It also judges DS1's bursts of S beats, at least half of them S, each as if it were a
whole recording: there an S beat is the usual one. Finished trainings are kept in --json, and
a second call goes on from there. The tables go to docs/results.md, between `<!-- beat -->`
and `<!-- /beat -->`.
"""

import argparse
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.common.results_store import StoredResults, command, machine, put_between_marks
from benchmarks.studies.beat_tables import RICH, cv_tables, ds2_tables
from fl.data.cohort import Cohort
from fl.data.example_cache import default_cache_dir, prepare
from fl.data.shards import shard_in_memory
from fl.datasets.mitdb import DS1, DS2, MITDB, SAME_PATIENT
from fl.ecg.beat_examples import BeatExampleMaker
from fl.ecg.beat_features import EARLY, FEATURES
from fl.ecg.beat_segments import annotated_beats
from fl.ecg.labels import AAMI, BEAT_CLASSES
from fl.ecg.qrs_detection import detect_beats, match_beats
from fl.ecg.tasks import BEAT, TASKS
from fl.evaluation.ec57 import confusion
from fl.models import MODELS
from fl.models.blocks import EARLY_WEIGHT
from fl.training.loop import TrainingPlan, fit, predict
from fl.util.random_streams import stream, torch_seed

# Folds over the records of DS1. Patients with many S or V, and the two in fibrillation (201,
# 203), are spread by hand: five random folds would leave a class out of one.
FOLDS = (
    ("209", "106", "115", "116"),
    ("201", "119", "108", "122", "101"),
    ("207", "124", "203", "112"),
    ("118", "208", "109", "230"),
    ("220", "223", "114", "205", "215"),
)
EPOCHS = 6
LR = 2e-3
GAP, BESIDE = 3, 5  # beats

TIMING = FEATURES[: FEATURES.index("qrs like median")]
# The first look at DS2 was without these, and all features told S from N together.
ADDED = ("post/longest", "pre/longest 60", "pre/latest 60")
FIRST = tuple(name for name in FEATURES if name not in ADDED)
RATIOS = ("pre/local", "post/pre", "post/local", "local/global")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way to train; the defaults are what is proposed."""

    features: tuple[str, ...] = FEATURES
    signal: bool = True
    silence: float = 0.5
    width: int = 16
    trainable: tuple[str, ...] = BEAT.trainable
    imbalance: str = BEAT.imbalance
    augment: tuple[str, ...] = BEAT.augment
    epochs: int = EPOCHS
    model: str = BEAT.model
    early: tuple[str, ...] = EARLY  # most of the word on S against N; (): all alike


# A full pass has three times as many beats as a thinned one: two such passes are the same work.
RECIPES = {
    "as proposed": Recipe(),
    "as in the first look": Recipe(features=FIRST, early=()),
    "S told from N by everything": Recipe(early=()),
    "imbalance: none": Recipe(imbalance="none", epochs=2),
    "imbalance: weighted": Recipe(imbalance="weighted", epochs=2),
    "imbalance: focal": Recipe(imbalance="focal", epochs=2),
    "imbalance: balanced": Recipe(imbalance="balanced"),
    "F and Q taught as well": Recipe(trainable=BEAT_CLASSES),
    "signal never silenced": Recipe(silence=0.0),
    "features alone": Recipe(signal=False),
    "four RR ratios and the signal": Recipe(features=RATIOS),
    "timing and the signal": Recipe(features=TIMING),
    "no P wave features": Recipe(features=tuple(f for f in FEATURES if not f.startswith("p "))),
    "no augmentation": Recipe(augment=()),
}


def load(task_name: str, data: Path, cache: Path, workers: int) -> Cohort:
    """Every beat of the records without a pacemaker."""
    task = TASKS[task_name]
    return Cohort.open(task, [prepare(MITDB, data, task, cache, workers)])


def as_in(recipe: Recipe, cohort: Cohort) -> Cohort:
    """The cohort as the recipe sees it: other features are zero."""
    kept = np.isin(FEATURES, recipe.features)
    shards = tuple(replace(s, features=s.features * kept) for s in cohort.shards)
    task = replace(cohort.task, trainable=recipe.trainable)
    return Cohort(task, shards, cohort.shard, cohort.row)


def train(
    cohort: Cohort, rows: NDArray[np.int64], recipe: Recipe, seed: int, device: str
) -> torch.nn.Module:
    """One training on these rows."""
    task = cohort.task
    torch.manual_seed(torch_seed(seed, "init"))
    model: Any = MODELS[recipe.model]
    if recipe.model == BEAT.model:
        silence = recipe.silence if recipe.signal else 1.0
        early = tuple(FEATURES.index(name) for name in recipe.early)
        model = replace(model, signal_dropout=silence, width=recipe.width, early_features=early)
    network = model.build(
        leads=task.leads,
        samples=task.samples,
        features=len(task.features),
        classes=len(task.classes),
    )
    plan = TrainingPlan(
        seed=seed,
        site="all",
        round=1,
        rounds=1,
        epochs=recipe.epochs,
        batch_size=BEAT.batch_size,
        lr=LR,
        weight_decay=0.01,
        augment=recipe.augment,
        imbalance=recipe.imbalance,
        device=device,
    )
    fit(network, cohort.take(rows), plan)
    if not recipe.signal:  # silenced in training, so its weights are what chance made them
        torch.nn.init.zeros_(network.head.weight[:, : -network.rr.width])
    return network


def counts(
    cohort: Cohort, rows: NDArray[np.int64], network: torch.nn.Module, device: str
) -> dict[str, Any]:
    """What was said of each record's beats: {record: (true class, said class)}."""
    tested = cohort.take(rows)
    predicted = predict(network, tested, batch_size=512, device=device).argmax(axis=1)
    names, record = np.unique(tested.column("recordings"), return_inverse=True)
    found = confusion(tested.labels.argmax(axis=1), predicted, record, len(names))
    return dict(zip(names.tolist(), found.tolist(), strict=True))


def in_records(cohort: Cohort, records: tuple[str, ...]) -> NDArray[np.int64]:
    """Rows of these records."""
    return np.flatnonzero(np.isin(cohort.column("recordings"), records))


def standard(cohort: Cohort, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """DS1 and DS2 as published, although 201 and 202 are one man."""
    return in_records(cohort, DS1), in_records(cohort, DS2)


def strict(cohort: Cohort, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The same without 201, whose person is tested as 202."""
    twins = {SAME_PATIENT.get(name, name) for name in DS2}
    return in_records(cohort, tuple(n for n in DS1 if n not in twins)), in_records(cohort, DS2)


def intra(cohort: Cohort, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Half of all beats by chance: every patient is on both sides. Leaks; for comparison."""
    rows = stream(seed, "intra").permutation(in_records(cohort, DS1 + DS2))
    half = len(rows) // 2
    return np.sort(rows[:half]), np.sort(rows[half:])


Split = Callable[[Cohort, int], tuple[NDArray[np.int64], NDArray[np.int64]]]
SPLITS: dict[str, Split] = {"standard": standard, "strict": strict, "intra": intra}


def cross_validate(
    cohort: Cohort, stretches: Cohort, recipe: Recipe, seed: int, device: str
) -> dict[str, Any]:
    """Each record of DS1 by a network that saw the other folds: counts by record.

    The records' stretches of `stretches_of_s` under `<record> rich in S`.
    """
    seen, rich = as_in(recipe, cohort), as_in(recipe, stretches)
    found: dict[str, Any] = {}
    for fold in FOLDS:
        rest = tuple(name for name in DS1 if name not in fold)
        network = train(seen, in_records(seen, rest), recipe, seed, device)
        found |= counts(seen, in_records(seen, fold), network, device)
        rows = in_records(rich, fold)
        if len(rows):
            found |= {f"{n}{RICH}": c for n, c in counts(rich, rows, network, device).items()}
    return found


def stretches_of_s(data: Path) -> Cohort:
    """Bursts of S beats of DS1 and what is around them, each cut as if it were a recording.

    A burst's S beats are at most `GAP` beats apart, and at least half of it with `BESIDE` beats on
    either side are S. Median beat, intervals and neighbours are its own, so what is usual is S.
    """
    shards = []
    for name in DS1:
        record = MITDB.read(data, name)
        assert record.annotations is not None
        peaks, symbols = annotated_beats(record.annotations)
        classes = np.array([BEAT_CLASSES.index(AAMI[s]) for s in symbols.tolist()])
        places = np.flatnonzero(classes == BEAT_CLASSES.index("S"))
        for burst in np.split(places, np.flatnonzero(np.diff(places) > GAP) + 1):
            if not len(burst):
                continue
            run = slice(max(burst[0] - BESIDE, 0), burst[-1] + BESIDE + 1)
            if 2 * len(burst) >= len(classes[run]):
                labels = np.eye(len(BEAT_CLASSES), dtype=np.int8)[classes[run]]
                shards.append(
                    shard_in_memory(
                        BEAT, record, BeatExampleMaker().from_peaks(record, peaks[run], labels)
                    )
                )
    return Cohort.of(BEAT, shards)


def once(cohort: Cohort, split: str, seed: int, device: str) -> dict[str, Any]:
    """Train and test on one split."""
    trained, tested = SPLITS[split](cohort, seed)
    network = train(cohort, trained, Recipe(), seed, device)
    return counts(cohort, tested, network, device)


def detector_quality(name: str, data: Path) -> dict[str, Any]:
    """What the detector found of DS2: {record: [annotated, found, both within 150 ms]}."""
    quality = {}
    for record_name in DS2:
        record = MITDB.read(data, record_name)
        assert record.annotations is not None
        peaks, _ = annotated_beats(record.annotations)
        found = detect_beats(name, record.signal[record.leads.index("II")], record.fs)
        both, _ = match_beats(peaks, found, record.fs)
        quality[record_name] = [len(peaks), len(found), len(both)]
    return quality


def stamp(cohort: Cohort, device: str) -> dict[str, Any]:
    """What the results depend on, and where they were made."""
    settings = {
        "recipe": repr(Recipe()),
        "model": repr(MODELS[BEAT.model]),
        "task": BEAT.preprocessing,
        "lr": LR,
        "trust": EARLY_WEIGHT,
        "folds": FOLDS,
        "data": cohort.shards[0].digest,
    }
    digest = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]
    return {
        "settings": digest,
        "details": settings,
        "machine": machine(device),
        "torch": torch.__version__,
        "command": command("beat.py"),
    }


def main() -> None:
    """Parse, run what is not there yet, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--cache-dir", type=Path, default=default_cache_dir())
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--cv", action="store_true", help="cross-validation over DS1, no DS2")
    parser.add_argument("--only", default="", help="names of rows of the cross-validation")
    parser.add_argument("--causal", action="store_true", help="also as a monitor would see it")
    parser.add_argument("--detector", choices=("", "xqrs", "gqrs"), default="")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--workers", type=int, default=1, help="processes for preprocessing")
    parser.add_argument("--json", type=Path, default=Path("docs/results-beat.json"))
    parser.add_argument("--results", type=Path, default=Path("docs/results.md"))
    options = parser.parse_args()
    seeds = [int(s) for s in options.seeds.split(",")]

    def loaded(name: str) -> Cohort:
        return load(name, options.data_dir, options.cache_dir, options.workers)

    cohort = loaded("beat")
    kept = StoredResults(options.json, stamp(cohort, options.device))
    if options.cv:
        stretches = stretches_of_s(options.data_dir)
        chosen = [n.strip() for n in options.only.split(",") if n.strip()] or list(RECIPES)
        for seed in seeds:
            for name in chosen:
                kept.of(
                    f"cv/{name}/{seed}",
                    lambda name=name, seed=seed: cross_validate(
                        cohort, stretches, RECIPES[name], seed, options.device
                    ),
                )
        print("\n".join(cv_tables(kept.content)))
    else:
        variants = [("", cohort)]
        if options.causal:
            variants.append(("causal ", loaded("beat-causal")))
        if options.detector:
            variants.append((f"{options.detector} ", loaded(f"beat-{options.detector}")))
            kept.of(
                f"detector/{options.detector}",
                lambda: detector_quality(options.detector, options.data_dir),
            )
        for seed in seeds:
            for prefix, examples in variants:
                for split in SPLITS if not prefix else ("standard",):
                    kept.of(
                        f"ds2/{prefix}{split}/{seed}",
                        lambda e=examples, s=split, n=seed: once(e, s, n, options.device),
                    )
        print("\n".join(ds2_tables(kept.content)))
    text = [*ds2_tables(kept.content), *cv_tables(kept.content)]
    put_between_marks(options.results, "beat", "\n".join(text))


if __name__ == "__main__":
    main()
