"""Heartbeats between patients: trained on DS1, measured once on DS2, by ANSI/AAMI EC57.

    python -m benchmarks.studies.beat --data-dir DATA [--seeds 0,1,2] [--cv]
        [--detector xqrs] [--causal]

`--cv` is the cross-validation over the records of DS1 by which every setting was chosen; it never
reads DS2. It also tests bursts of S beats in DS1, at least half of whose beats are S, each as if it
were a whole recording: there the S beat is the usual beat. Finished trainings are stored in --json,
and a second call continues from there. The tables are written to docs/results.md, between
`<!-- beat -->` and `<!-- /beat -->`.
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

from benchmarks.common.results_store import (
    StoredResults,
    command,
    machine_description,
    put_between_marks,
)
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
from fl.models.early_decision import EARLY_WEIGHT
from fl.training.loop import TrainingPlan, fit, predict
from fl.util.random_streams import stream, torch_seed

# Folds over the records of DS1. Patients with many S or V beats, and the two with fibrillation
# (201, 203), are spread by hand: with five random folds, one of them would lack a class.
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
# The first look at DS2 was without these features, and all features together decided S against N.
ADDED = ("post/longest", "pre/longest 60", "pre/latest 60")
FIRST = tuple(name for name in FEATURES if name not in ADDED)
RATIOS = ("pre/local", "post/pre", "post/local", "local/global")


@dataclass(frozen=True, kw_only=True)
class BeatRecipe:
    """The settings of one training; the defaults are the proposed ones."""

    features: tuple[str, ...] = FEATURES
    signal: bool = True
    signal_dropout: float = 0.5  # share of training examples that show only their features
    width: int = 16
    trainable: tuple[str, ...] = BEAT.trainable
    imbalance: str = BEAT.imbalance
    augment: tuple[str, ...] = BEAT.augment
    epochs: int = EPOCHS
    model: str = BEAT.model
    early_features: tuple[str, ...] = EARLY  # with a decision of their own on S against N; or ()


# A full pass has three times as many beats as a thinned one: two full passes are as many steps.
RECIPES = {
    "as proposed": BeatRecipe(),
    "as in the first look": BeatRecipe(features=FIRST, early_features=()),
    "S against N by all features": BeatRecipe(early_features=()),
    "imbalance: none": BeatRecipe(imbalance="none", epochs=2),
    "imbalance: weighted": BeatRecipe(imbalance="weighted", epochs=2),
    "imbalance: focal": BeatRecipe(imbalance="focal", epochs=2),
    "imbalance: balanced": BeatRecipe(imbalance="balanced"),
    "F and Q trained on as well": BeatRecipe(trainable=BEAT_CLASSES),
    "signal never hidden": BeatRecipe(signal_dropout=0.0),
    "features only": BeatRecipe(signal=False),
    "four RR ratios and the signal": BeatRecipe(features=RATIOS),
    "timing and the signal": BeatRecipe(features=TIMING),
    "no P wave features": BeatRecipe(features=tuple(f for f in FEATURES if not f.startswith("p "))),
    "no augmentation": BeatRecipe(augment=()),
}


def load(task_name: str, data: Path, cache: Path, workers: int) -> Cohort:
    """Every beat of the records without paced beats."""
    task = TASKS[task_name]
    return Cohort.open(task, [prepare(MITDB, data, task, cache, workers)])


def as_in(recipe: BeatRecipe, cohort: Cohort) -> Cohort:
    """The cohort with the recipe's features only; the others are zero."""
    used = np.isin(FEATURES, recipe.features)
    shards = tuple(replace(s, features=s.features * used) for s in cohort.shards)
    task = replace(cohort.task, trainable=recipe.trainable)
    return Cohort(task, shards, cohort.shard, cohort.row)


def train(
    cohort: Cohort, rows: NDArray[np.int64], recipe: BeatRecipe, seed: int, device: str
) -> torch.nn.Module:
    """The network of one training on these rows."""
    task = cohort.task
    torch.manual_seed(torch_seed(seed, "init"))
    model: Any = MODELS[recipe.model]
    if recipe.model == BEAT.model:
        dropout = recipe.signal_dropout if recipe.signal else 1.0
        early = tuple(FEATURES.index(name) for name in recipe.early_features)
        model = replace(model, signal_dropout=dropout, width=recipe.width, early_features=early)
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
    if not recipe.signal:  # hidden in training, so its weights are still the random initial ones
        torch.nn.init.zeros_(network.head.weight[:, : -network.feature_branch.width])
    return network


def counts(
    cohort: Cohort, rows: NDArray[np.int64], network: torch.nn.Module, device: str
) -> dict[str, Any]:
    """Confusion matrix of each record's beats: {record: (true class, predicted class)}."""
    tested = cohort.take(rows)
    predicted = predict(network, tested, batch_size=512, device=device).argmax(axis=1)
    names, record = np.unique(tested.column("recordings"), return_inverse=True)
    matrices = confusion(tested.labels.argmax(axis=1), predicted, record, len(names))
    return dict(zip(names.tolist(), matrices.tolist(), strict=True))


def in_records(cohort: Cohort, records: tuple[str, ...]) -> NDArray[np.int64]:
    """Rows of these records."""
    return np.flatnonzero(np.isin(cohort.column("recordings"), records))


def standard(cohort: Cohort, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """DS1 and DS2 as published, although 201 in DS1 and 202 in DS2 are the same man."""
    return in_records(cohort, DS1), in_records(cohort, DS2)


def strict(cohort: Cohort, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """DS1 without 201, because the same man is tested as 202 in DS2."""
    twins = {SAME_PATIENT.get(name, name) for name in DS2}
    return in_records(cohort, tuple(n for n in DS1 if n not in twins)), in_records(cohort, DS2)


def intra(cohort: Cohort, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A random half of all beats. Leaks, as every patient is on both sides; for comparison only."""
    rows = stream(seed, "intra").permutation(in_records(cohort, DS1 + DS2))
    half = len(rows) // 2
    return np.sort(rows[:half]), np.sort(rows[half:])


Split = Callable[[Cohort, int], tuple[NDArray[np.int64], NDArray[np.int64]]]
SPLITS: dict[str, Split] = {"standard": standard, "strict": strict, "intra": intra}


def cross_validate(
    cohort: Cohort, stretches: Cohort, recipe: BeatRecipe, seed: int, device: str
) -> dict[str, Any]:
    """Confusion matrix of each record of DS1, by a network trained on the other folds.

    Those of the records' bursts, from `stretches_of_s`, are under `<record> rich in S`.
    """
    beats, rich = as_in(recipe, cohort), as_in(recipe, stretches)
    matrices: dict[str, Any] = {}
    for fold in FOLDS:
        rest = tuple(name for name in DS1 if name not in fold)
        network = train(beats, in_records(beats, rest), recipe, seed, device)
        matrices |= counts(beats, in_records(beats, fold), network, device)
        rows = in_records(rich, fold)
        if len(rows):
            matrices |= {f"{n}{RICH}": c for n, c in counts(rich, rows, network, device).items()}
    return matrices


def stretches_of_s(data: Path) -> Cohort:
    """Bursts of S beats of DS1 and the beats around them, each cut as if it were a recording.

    A burst's S beats are at most `GAP` beats apart, and with `BESIDE` beats on either side at least
    half of its beats are S. Median beat, intervals and neighbours are computed within the burst, so
    that its usual beat is S.
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
    """Train and test on one split: the confusion matrices by record."""
    trained, tested = SPLITS[split](cohort, seed)
    network = train(cohort, trained, BeatRecipe(), seed, device)
    return counts(cohort, tested, network, device)


def detector_quality(name: str, data: Path) -> dict[str, Any]:
    """The detector's beats in DS2: {record: [annotated, detected, both within 150 ms]}."""
    quality = {}
    for record_name in DS2:
        record = MITDB.read(data, record_name)
        assert record.annotations is not None
        peaks, _ = annotated_beats(record.annotations)
        detected = detect_beats(name, record.signal[record.leads.index("II")], record.fs)
        both, _ = match_beats(peaks, detected, record.fs)
        quality[record_name] = [len(peaks), len(detected), len(both)]
    return quality


def settings_of(data: str) -> dict[str, Any]:
    """The settings that the results depend on; `data` is the digest of the recordings."""
    return {
        "recipe": repr(BeatRecipe()),
        "model": repr(MODELS[BEAT.model]),
        "task": BEAT.preprocessing,
        "lr": LR,
        "early_weight": EARLY_WEIGHT,
        "folds": FOLDS,
        "data": data,
    }


def digest_of(settings: dict[str, Any]) -> str:
    """A short name of the settings: results of other settings are not used."""
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]


def stamp(cohort: Cohort, device: str) -> dict[str, Any]:
    """The settings that the results depend on, and the machine and command that made them."""
    settings = settings_of(cohort.shards[0].digest)
    return {
        "settings": digest_of(settings),
        "details": settings,
        "machine": machine_description(device),
        "torch": torch.__version__,
        "command": command("studies.beat"),
    }


def main() -> None:
    """Run the trainings that are not stored yet, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--cache-dir", type=Path, default=default_cache_dir())
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--cv", action="store_true", help="cross-validation over DS1, no DS2")
    parser.add_argument("--only", default="", help="names of rows of the cross-validation")
    parser.add_argument(
        "--causal", action="store_true", help="also the causal task, as in a monitor"
    )
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
    file = StoredResults(options.json, stamp(cohort, options.device))
    if options.cv:
        stretches = stretches_of_s(options.data_dir)
        chosen = [n.strip() for n in options.only.split(",") if n.strip()] or list(RECIPES)
        for seed in seeds:
            for name in chosen:
                file.get_or_make(
                    f"cv/{name}/{seed}",
                    lambda name=name, seed=seed: cross_validate(
                        cohort, stretches, RECIPES[name], seed, options.device
                    ),
                )
        print("\n".join(cv_tables(file.content)))
    else:
        variants = [("", cohort)]
        if options.causal:
            variants.append(("causal ", loaded("beat-causal")))
        if options.detector:
            variants.append((f"{options.detector} ", loaded(f"beat-{options.detector}")))
            file.get_or_make(
                f"detector/{options.detector}",
                lambda: detector_quality(options.detector, options.data_dir),
            )
        for seed in seeds:
            for prefix, examples in variants:
                for split in SPLITS if not prefix else ("standard",):
                    file.get_or_make(
                        f"ds2/{prefix}{split}/{seed}",
                        lambda e=examples, s=split, n=seed: once(e, s, n, options.device),
                    )
        print("\n".join(ds2_tables(file.content)))
    text = [*ds2_tables(file.content), *cv_tables(file.content)]
    put_between_marks(options.results, "beat", "\n".join(text))


if __name__ == "__main__":
    main()
