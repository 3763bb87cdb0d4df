"""Pooled rhythm training by five-fold cross-validation over every source found.

    python -m benchmarks.studies.rhythm --data-dir DATA --choose [--only NAMES]
    python -m benchmarks.studies.rhythm --data-dir DATA

`--choose` trains the candidates and prints their validation results, by which settings are chosen;
it never reads the tested patients. Without it the five networks are trained with the best settings,
and each fold's patients are tested. Finished folds are stored in --work, and a second call
continues from there. `--task rhythm` gives the network the measured features beside the signal. The
full CPSC2018 in DATA/cpsc2018 takes the same command.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common.countdown import Countdown
from benchmarks.common.results_store import (
    StoredResults,
    command,
    machine_description,
    put_between_marks,
)
from benchmarks.studies.rhythm_cv import (
    N_FOLDS,
    FoldJob,
    RhythmRecipe,
    fold_rows,
    opened,
    prepared,
    real_sources,
    run_missing,
    stored_fold,
)
from benchmarks.studies.rhythm_tables import (
    choice_table,
    heading,
    reliability_figure,
    result_tables,
)
from fl.data.cohort import Cohort
from fl.data.example_cache import default_cache_dir
from fl.ecg.tasks import RHYTHM_FEATURES, RHYTHM_SIGNAL, TASKS
from fl.evaluation.cpsc2018_score import official_score
from fl.evaluation.decisions.decision_rule import DecisionRule, answer, choose_rule
from fl.evaluation.decisions.score_histograms import count_scores
from fl.evaluation.group_evaluation import evaluate_predicted
from fl.evaluation.metrics import Scores, scores
from fl.training.losses import mean_loss

NETWORKS = ("reslstm_temporalse", "resnet1d", "cnn1d", "cnn_lstm", "lstm")
PROPOSED = RhythmRecipe()


def without(change: str) -> tuple[str, ...]:
    """The proposed augmentations without one of them."""
    return tuple(name for name in PROPOSED.augment if name != change)


# The candidates use the network that trains fastest, and half as many epochs as are proposed; each
# row changes one setting of the first.
TRIAL_EPOCHS = 20
FAST = replace(PROPOSED, model="resnet1d", epochs=TRIAL_EPOCHS)
CANDIDATES: dict[str, RhythmRecipe] = {
    "20 epochs": FAST,
    "imbalance: weighted": replace(FAST, imbalance="weighted"),
    "imbalance: focal": replace(FAST, imbalance="focal"),
    "no augmentation": replace(FAST, augment=()),
    **{f"without {name}": replace(FAST, augment=without(name)) for name in PROPOSED.augment},
    "running mean of weights": replace(FAST, ema=0.999),
    "10 epochs": replace(FAST, epochs=10),
    "40 epochs": replace(FAST, epochs=40),
    "5 windows of a recording": replace(FAST, per_recording=5),
    "30 windows of a recording": replace(FAST, per_recording=30),
    "batch 8": replace(FAST, batch_size=8),
    "batch 32": replace(FAST, batch_size=32),
    "learning rate 0.004": replace(FAST, lr=4e-3),
    "CPSC2018 and MIT-BIH alone": replace(FAST, sources=("cpsc2018", "cpsc2018-lead1", "mitdb")),
}


@dataclass(frozen=True)
class Study:
    """The data, the folder of finished trainings, and how trainings are run."""

    shards: tuple[Path, ...]
    work: Path
    workers: int
    device: str
    seed: int

    def jobs(self, recipe: RhythmRecipe, numbers: Sequence[int]) -> list[FoldJob]:
        """One job per fold."""
        return [
            FoldJob(
                recipe=recipe,
                fold=k,
                seed=self.seed,
                shards=self.shards,
                work=self.work,
                device=self.device,
            )
            for k in numbers
        ]

    def train(self, recipes: dict[str, RhythmRecipe], numbers: Sequence[int]) -> None:
        """Train all folds of all recipes that are not stored yet."""
        named = [(n, job) for n, recipe in recipes.items() for job in self.jobs(recipe, numbers)]
        countdown = Countdown(sum(not job.path.exists() for _, job in named))
        for job, seconds in run_missing([job for _, job in named], self.workers):
            name = next(n for n, other in named if other == job)
            countdown.done(f"{name}, fold {job.fold}: {seconds:.0f} s of training")


def validation_row(study: Study, cohort: Cohort, recipe: RhythmRecipe, folds: Sequence[int]) -> Any:
    """The results of a recipe on the validation patients of each fold."""
    rows = []
    for job in study.jobs(recipe, folds):
        stored = stored_fold(job)
        part, p = cohort.take(stored["val_rows"]), stored["val_p"]
        row: dict[str, Any] = {"loss": mean_loss(part.task, part.labels, p)}
        row |= {"seconds": float(stored["seconds"]), "fold": job.fold}
        row["sources"] = {
            source: {
                "macro_auroc": measured.macro_auroc,
                "macro_auprc": measured.macro_auprc,
            }
            for source, measured in _each_source(part, p).items()
        }
        rows.append(row)
    return {"size": recipe.size, "folds": rows}


def _each_source(part: Cohort, p: Any) -> dict[str, Scores]:
    """Measures that need no thresholds, by source."""
    classes = part.task.classes
    measures = {}
    for source in np.unique(part.sources):
        rows = np.flatnonzero(part.sources == source)
        measures[str(source)] = scores(
            part.labels[rows], p[rows], p[rows] >= 0.5, classes, part.patients[rows]
        )
    return measures


def tested(study: Study, cohort: Cohort, *recipes: RhythmRecipe) -> dict[str, Any]:
    """Test results by source; every patient is tested by networks that were not trained on them.

    With several recipes, the networks' probabilities are averaged.
    """
    p = np.full(cohort.labels.shape, np.nan)
    predicted = np.zeros(cohort.labels.shape, dtype=bool)
    seconds, by_fold = 0.0, []
    for jobs in zip(*(study.jobs(recipe, range(N_FOLDS)) for recipe in recipes), strict=True):
        stored = [stored_fold(job) for job in jobs]
        rows, val_rows = stored[0]["test_rows"], stored[0]["val_rows"]
        p[rows] = np.mean([fold["test_p"] for fold in stored], axis=0)
        val_p = np.mean([fold["val_p"] for fold in stored], axis=0)
        rule = fold_rule(cohort.take(val_rows), val_p)
        p[rows], predicted[rows] = answer(rule, p[rows], cohort.sources[rows], cohort.task.classes)
        seconds += sum(float(fold["seconds"]) for fold in stored)
        by_fold.append(_auroc_by_source(cohort.take(rows), p[rows]))
    size = sum(recipe.size for recipe in recipes)
    result: dict[str, Any] = {"size": size, "seconds": seconds, "folds": by_fold}
    result["sources"] = {}
    for source in np.unique(cohort.sources):
        rows = np.flatnonzero(cohort.sources == source)
        part = cohort.take(rows)
        measures = evaluate_predicted(part, p[rows], predicted[rows], study.seed)
        result["sources"][str(source)] = measures.to_json()
    result["official"] = official(cohort, p)
    result["reliability"] = reliability_of(cohort, p)
    return result


def fold_rule(part: Cohort, p: Any) -> DecisionRule:
    """How one fold's network decides, by source, from its validation patients."""
    tallies = {
        str(source): count_scores(part.labels[rows], p[rows], part.patients[rows])
        for source in np.unique(part.sources)
        if len(rows := np.flatnonzero(part.sources == source))
    }
    return choose_rule(tallies, part.task)


def _auroc_by_source(part: Cohort, p: Any) -> dict[str, float | None]:
    return {source: m.macro_auroc for source, m in _each_source(part, p).items()}


def official(cohort: Cohort, p: Any) -> dict[str, Any]:
    """CPSC2018's own score, over the records whose first label is known."""
    names = cohort.column("first_labels").astype(str)
    rows = np.flatnonzero(names != "")
    first = np.array([cohort.task.classes.index(name) for name in names[rows]], dtype=np.int64)
    return official_score(first, cohort.labels[rows], p[rows].argmax(axis=1))


def reliability_of(cohort: Cohort, p: Any) -> dict[str, Any]:
    """Reliability curve of all classes together, by source."""
    from fl.evaluation.calibration import reliability

    curves = {}
    for source in np.unique(cohort.sources):
        rows = cohort.sources == source
        known = cohort.labels[rows] >= 0
        curve = reliability(cohort.labels[rows][known] == 1, p[rows][known])
        curves[str(source)] = [asdict(point) for point in curve]
    return curves


def study_of(options: argparse.Namespace) -> tuple[Study, Cohort]:
    """The study that the options ask for, and its examples."""
    names = options.sources.split(",") if options.sources else real_sources(options.data_dir)
    task = TASKS[options.task]
    shards = prepared(names, options.data_dir, options.cache_dir, options.workers, task)
    work = options.work or options.cache_dir / "rhythm-cv"
    study = Study(shards, work, options.workers, options.device, options.seed)
    return study, opened(shards, task)


def arguments(doc: str, name: str) -> argparse.ArgumentParser:
    """Options that the rhythm benchmarks share; `name` is the study's, of its files and marks."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--cache-dir", type=Path, default=default_cache_dir())
    parser.add_argument("--work", type=Path, help="finished folds [CACHE_DIR/rhythm-cv]")
    parser.add_argument("--sources", default="", help="data sets [all that are found]")
    tasks = [task.name for task in RHYTHM_FEATURES.values()]
    parser.add_argument("--task", choices=tasks, default=RHYTHM_SIGNAL.name)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="trainings at a time")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--only", default="", help="names of rows, separated by commas")
    parser.add_argument("--folds", default="0,1,2,3,4", help="folds of the choice")
    parser.add_argument("--json", type=Path, help=f"[docs/results-{name}.json]")
    parser.add_argument("--results", type=Path, default=Path("docs/results.md"))
    parser.set_defaults(name=name)
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The options; a study of another task than the signal's has files and marks of its own."""
    options = parser.parse_args()
    if options.task != RHYTHM_SIGNAL.name:
        inputs = options.task.removeprefix("rhythm").lstrip("-") or "features"
        options.name = f"{options.name}-{inputs}"
    options.json = options.json or Path(f"docs/results-{options.name}.json")
    return options


def stamp(study: Study, cohort: Cohort, module: str) -> dict[str, Any]:
    """The settings that results depend on, and the machine and command that made them."""
    return {
        "settings": {
            "data": {s.source: s.digest for s in cohort.shards},
            "task": cohort.task.preprocessing,
            "seed": study.seed,
        },
        "machine": machine_description(study.device),
        "torch": torch.__version__,
        "command": command(module),
    }


def chosen_of(
    table: dict[str, RhythmRecipe], options: argparse.Namespace
) -> dict[str, RhythmRecipe]:
    """The rows that --only names, or all; for the task of the options."""
    names = [n.strip() for n in options.only.split(",") if n.strip()]
    return {n: replace(table[n], task=options.task) for n in names or table}


def rows_of(
    results: dict[str, Any],
    prefix: str,
    make: Callable[[RhythmRecipe], Any],
    recipes: dict[str, RhythmRecipe],
) -> None:
    """Make one result per recipe, also if there is one already: folds may have been added."""
    for name, recipe in recipes.items():
        results[f"{prefix}/{name}"] = make(recipe)


def main() -> None:
    """Train the folds that are not stored yet, and write the tables."""
    parser = arguments(__doc__, "rhythm")
    parser.add_argument("--choose", action="store_true", help="candidates on validation")
    options = parsed(parser)
    study, cohort = study_of(options)
    file = StoredResults(options.json, stamp(study, cohort, "studies.rhythm"))
    results = file.content["results"]
    if options.choose:
        folds = [int(k) for k in options.folds.split(",")]
        recipes = chosen_of(CANDIDATES, options)
        study.train(recipes, folds)
        rows_of(results, "choice", lambda r: validation_row(study, cohort, r, folds), recipes)
    else:
        networks = {name: replace(PROPOSED, model=name) for name in NETWORKS}
        recipes = chosen_of(networks, options)
        study.train(recipes, range(N_FOLDS))
        everything = range(N_FOLDS)
        rows_of(results, "val", lambda r: validation_row(study, cohort, r, everything), recipes)
        rows_of(results, "test", lambda r: tested(study, cohort, r), recipes)
        if len(recipes) > 1:  # the mean of several networks
            results[f"test/mean of {' and '.join(recipes)}"] = tested(
                study, cohort, *recipes.values()
            )
        results["counts"] = counts(cohort, study.seed)
        reliability_figure(results, options.results.parent / f"{options.name}-reliability.svg")
    file.write()
    text = [
        *heading(file.content, cohort.task),
        *choice_table(file.content),
        *choice_table(file.content, "val", "The five networks, on validation patients"),
        *result_tables(file.content, f"{options.name}-reliability.svg"),
    ]
    print("\n".join(text))
    put_between_marks(options.results, options.name, "\n".join(text))


def counts(cohort: Cohort, seed: int) -> list[dict[str, dict[str, int]]]:
    """Number of patients of each source that train, validate and are tested in each fold."""
    return [
        {
            split: {
                str(s): len(set(cohort.patients[rows][cohort.sources[rows] == s].tolist()))
                for s in np.unique(cohort.sources)
            }
            for split, rows in fold_rows(cohort, k, seed).items()
        }
        for k in range(N_FOLDS)
    ]


if __name__ == "__main__":
    main()
