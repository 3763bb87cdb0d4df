"""One row of the study: trained on each fold, and every tested patient answered once."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.studies.remedies.recipes import Recipe, Rows, StudiedTask
from fl.data.cohort import Cohort
from fl.evaluation.bootstrap import BootstrapEstimate, bootstrap_estimates, interval, weighted_mean
from fl.evaluation.decisions.decision_rule import answer, choose_rule
from fl.evaluation.decisions.score_histograms import count_scores
from fl.evaluation.group_evaluation import evaluate_sources
from fl.evaluation.metrics import scores
from fl.evaluation.paired_bootstrap import difference
from fl.models import build_network
from fl.training.loop import OptimizerState, TrainingPlan, fit, predict
from fl.training.losses import mean_loss
from fl.training.state_dict import get_weights, set_weights
from fl.util.random_streams import torch_seed


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a row answers for the tested patients, and what its training cost."""

    rows: Rows  # (example,) of the cohort
    p: NDArray[np.float64]  # (example, class) calibrated
    predicted: NDArray[np.bool_]  # (example, class)
    seconds: float  # of processor time in training, over all folds
    passes: int  # over all folds
    steps: int

    def write(self, path: Path) -> None:
        """Keep them, so that other rows can be compared with them."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **vars(self))

    @classmethod
    def read(cls, path: Path) -> "Answers":
        """Those that `write` kept."""
        with np.load(path) as kept:
            return cls(
                rows=kept["rows"],
                p=kept["p"],
                predicted=kept["predicted"],
                seconds=float(kept["seconds"]),
                passes=int(kept["passes"]),
                steps=int(kept["steps"]),
            )

    @classmethod
    def joined(cls, folds: Sequence["Answers"]) -> "Answers":
        """Those of all folds as one."""
        return cls(
            rows=np.concatenate([fold.rows for fold in folds]),
            p=np.concatenate([fold.p for fold in folds]),
            predicted=np.concatenate([fold.predicted for fold in folds]),
            seconds=sum(fold.seconds for fold in folds),
            passes=sum(fold.passes for fold in folds),
            steps=sum(fold.steps for fold in folds),
        )


def train_row(studied: StudiedTask, recipe: Recipe, cohort: Cohort, seed: int) -> Answers:
    """Train a recipe on every fold and answer each fold's patients."""
    task = cohort.task
    parts: list[Answers] = []
    for number, (trained, validated, tested) in enumerate(studied.splits(cohort, seed)):
        torch.manual_seed(torch_seed(seed, "init", studied.model))
        network = build_network(studied.model, task)
        val, test = cohort.take(validated), cohort.take(tested)
        began = time.process_time()
        passes, steps = _train(
            network, cohort.take(trained), val, studied, recipe, f"fold-{number}", seed
        )
        seconds = time.process_time() - began
        p = predict(network, val)
        by_source = {
            source: count_scores(val.labels[rows], p[rows], val.patients[rows])
            for source in np.unique(val.sources).tolist()
            if len(rows := np.flatnonzero(val.sources == source))
        }
        rule = choose_rule(by_source, task)
        p, predicted = answer(rule, predict(network, test), test.sources, task.classes)
        parts.append(
            Answers(
                rows=tested,
                p=p,
                predicted=predicted,
                seconds=seconds,
                passes=passes,
                steps=steps,
            )
        )
    return Answers.joined(parts)


def _train(
    network: nn.Module,
    cohort: Cohort,
    val: Cohort,
    studied: StudiedTask,
    recipe: Recipe,
    site: str,
    seed: int,
) -> tuple[int, int]:
    """Train in place: how many passes and steps it took. With patience the best pass is kept."""
    plan = TrainingPlan(
        seed=seed,
        site=site,
        round=1,
        rounds=1,
        epochs=recipe.passes,
        batch_size=studied.batch_size,
        lr=studied.lr,
        weight_decay=recipe.weight_decay,
        per_recording=studied.per_recording,
        augment=recipe.augment,
        imbalance=recipe.imbalance,
        simulated=recipe.simulated,
        dropout=recipe.dropout,
    )
    if not recipe.patience:
        return recipe.passes, fit(network, cohort, plan).steps
    state: OptimizerState | None = None
    best, best_pass, kept, steps, number = np.inf, 0, get_weights(network), 0, 0
    while number < recipe.passes and number - best_pass < recipe.patience:
        number += 1
        one = replace(plan, round=number, rounds=recipe.passes, epochs=1)
        fitted = fit(network, cohort, one, state)
        state, steps = fitted.state, steps + fitted.steps
        loss = mean_loss(val.task, val.labels, predict(network, val))
        if loss < best:
            best, best_pass, kept = loss, number, get_weights(network)
    set_weights(network, kept)
    return number, steps


def measured(
    studied: StudiedTask, cohort: Cohort, own: Answers, shipped: Answers, seed: int
) -> dict[str, Any]:
    """The measures of a row, and how it differs from the shipped settings on the same patients.

    Each is the mean over the sources, weighted by patients; intervals are by patient.
    """
    part = cohort.take(own.rows)
    mean = evaluate_sources(part, own.p, own.predicted, seed)[0]
    figures, n = _estimates(part, own, seed)
    reference = _estimates(part, shipped, seed)[0]
    found: dict[str, Any] = {
        name: {
            "value": figure.value,
            "interval": interval(figure, n),
            "difference": vars(difference(figure, reference[name], n)),
        }
        for name, figure in figures.items()
    }
    return found | {
        "macro_auprc": mean.macro_auprc,
        "classes": mean.macro_classes,
        "f1": {name: mean.classes[name].f1 for name in studied.rarest},
        "auprc": {name: mean.classes[name].auprc for name in studied.rarest},
        "ece": mean.macro_ece,
        "patients": n,
        "seconds": own.seconds,
        "passes": own.passes,
        "steps": own.steps,
    }


def _estimates(
    part: Cohort, answers: Answers, seed: int
) -> tuple[dict[str, BootstrapEstimate], int]:
    """Macro-F1 and macro-AUROC with their draws, and how many patients are behind them."""
    figures, weights = [], []
    for source in np.unique(part.sources).tolist():
        rows = np.flatnonzero(part.sources == source)
        labels, people = part.labels[rows], part.patients[rows]
        p, predicted = answers.p[rows], answers.predicted[rows]
        found = scores(
            labels, p, predicted, part.task.classes, people, averaged=part.task.trainable
        )
        figures.append(bootstrap_estimates(found, labels, p, predicted, people, seed, group=source))
        weights.append(len(np.unique(people)))
    return {
        name: weighted_mean([figure[name] for figure in figures], weights) for name in figures[0]
    }, sum(weights)
