"""How often a 95% interval covers the truth, by simulation; the table of docs/coverage.md.

    python -m benchmarks.studies.coverage [--seed 0] [--results docs/coverage.md]

Patients are drawn from a population whose measures are known. A group of them is measured as a
run measures one, and the truth is that of the population over the same classes.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from benchmarks.common.countdown import Countdown
from benchmarks.common.results_store import command, put_between_marks
from fl.evaluation.bootstrap import (
    Draws,
    Interval,
    bootstrap_estimates,
    bootstrap_macro,
    difference_interval,
    interval,
    main_classes,
)
from fl.evaluation.metrics import ClassMeasures, Labels, Probs, Scores, mean_of, scores
from fl.util.random_streams import stream

# Shares of patients, and how far two models' scores of a class lie above the others (in SD).
PREVALENCE = np.array([0.42, 0.18, 0.10, 0.06, 0.20, 0.09, 0.10, 0.12, 0.04])
SHIFT = np.array([2.6, 3.0, 2.2, 3.0, 2.8, 1.6, 2.0, 1.8, 1.5])
SHIFTS = (SHIFT, SHIFT - 0.3)
CLASSES = tuple(f"class {c}" for c in range(len(PREVALENCE)))
WINDOW_SHOWS = 0.7  # of the windows of a patient with a class, the share that shows it
BETWEEN = 0.49  # of the variance of a score, the share that a patient's windows have in common
POPULATION = 60_000
AIM = 0.93
METRICS = {"macro_auroc": "macro-AUROC", "macro_f1": "macro-F1"}
METHODS = ("now", "fixed shares", "before")


@dataclass(frozen=True)
class Plan:
    """One line of the table: the size of a group, and how often it is drawn."""

    patients: int
    windows: int  # of each patient
    replications: int
    draws: int


PLANS = (
    *(Plan(10, 1, 1200, 300), Plan(23, 1, 500, 300), Plan(150, 1, 300, 200)),
    *(Plan(600, 1, 200, 150), Plan(10, 8, 1200, 300), Plan(23, 8, 500, 300)),
    Plan(150, 8, 150, 200),
)


@dataclass(frozen=True)
class Group:
    """Patients with one or several windows, and two models' probabilities."""

    labels: Labels
    models: tuple[Probs, Probs]
    patient: NDArray[np.int64]

    @classmethod
    def drawn(cls, n: int, windows: int, rng: np.random.Generator) -> "Group":
        """A group of n patients of the population."""
        shape = (n * windows, len(CLASSES))
        patient = np.repeat(np.arange(n), windows)
        shown = (rng.random((n, len(CLASSES))) < PREVALENCE)[patient]
        if windows > 1:
            shown &= rng.random(shape) < WINDOW_SHOWS
        common = rng.normal(size=(n, len(CLASSES)))[patient] * math.sqrt(BETWEEN)
        one = common + rng.normal(size=shape) * math.sqrt(1 - BETWEEN)
        other = 0.7 * one + math.sqrt(1 - 0.7**2) * rng.normal(size=shape)
        models = [
            expit(noise + shown * shift - 0.55 * SHIFT - 0.35)
            for noise, shift in zip((one, other), SHIFTS, strict=True)
        ]
        return cls(shown.astype(np.int8), (models[0], models[1]), patient)

    def measured(self, model: int) -> Scores:
        """The measures of one model, decided at one half."""
        p, names = self.models[model], self.patient.astype(str)
        return scores(self.labels, p, p >= 0.5, CLASSES, names, brief=True)


def figure(found: Scores, metric: str, classes: Sequence[str]) -> float | None:
    """A macro average over the given classes."""
    return mean_of([_measure(found.classes[name], metric) for name in classes])


def _measure(one: ClassMeasures, metric: str) -> float | None:
    value: float | None = getattr(one, metric.removeprefix("macro_"))
    return value


def intervals(
    group: Group, found: Sequence[Scores], draws: int, seed: int, rng: np.random.Generator
) -> dict[tuple[str, str, str], tuple[Interval, tuple[str, ...]]]:
    """(method, metric, figure) -> interval and the classes that it is about.

    `value` is the first model's figure, `difference` the first minus the second.
    """
    n, names = int(group.patient.max()) + 1, group.patient.astype(str)
    made: dict[tuple[str, str, str], tuple[Interval, tuple[str, ...]]] = {}
    now = [
        bootstrap_estimates(one, group.labels, p, p >= 0.5, names, seed, draws)
        for one, p in zip(found, group.models, strict=True)
    ]
    kept = found[0].macro_classes
    every = tuple(name for name, one in found[0].classes.items() if one.f1 is not None)
    drawn = _other_draws(group, draws, rng)
    by_class = [_draws_by_class(group, p, drawn) for p in group.models]
    for metric in METRICS:
        first, second = (estimates[metric] for estimates in now)
        made["now", metric, "value"] = interval(first, n), kept
        made["now", metric, "difference"] = difference_interval(first - second, n), kept
        for method, classes in (("fixed shares", kept), ("before", every)):
            columns = [CLASSES.index(name) for name in classes]
            one, other = (_mean(model[method, metric][columns]) for model in by_class)
            made[method, metric, "value"] = _percentiles(one), classes
            made[method, metric, "difference"] = _percentiles(one - other), classes
    return made


def _other_draws(group: Group, draws: int, rng: np.random.Generator) -> Draws:
    """Draws of the two other methods, one after the other.

    `fixed shares`: as many patients of each main class in every draw as in the group, over its
    classes. `before`: any patients, over the classes that a draw can measure.
    """
    n = int(group.patient.max()) + 1
    main = main_classes(group.labels, group.patient, n)
    fixed = np.zeros((draws, n))
    for stratum in np.unique(main):
        size = int((main == stratum).sum())
        fixed[:, main == stratum] = rng.multinomial(size, np.full(size, 1 / size), size=draws)
    plain = rng.multinomial(n, np.full(n, 1 / n), size=draws)
    return Draws(np.concatenate([fixed, plain]).astype(np.float64), group.patient)


def _draws_by_class(
    group: Group, p: Probs, drawn: Draws
) -> dict[tuple[str, str], NDArray[np.float64]]:
    """(method, metric) -> (class, draw) of `_other_draws`."""
    parts = [bootstrap_macro(group.labels, p, p >= 0.5, drawn, [c]) for c in range(len(CLASSES))]
    half = len(drawn.weights) // 2
    return {
        (method, metric): np.stack([part[metric] for part in parts])[:, rows]
        for metric in METRICS
        for method, rows in (("fixed shares", slice(0, half)), ("before", slice(half, None)))
    }


def _mean(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the classes that a draw can measure."""
    known = np.isfinite(rows)
    sums = np.where(known, rows, 0.0).sum(axis=0)
    return np.asarray(sums / np.maximum(known.sum(axis=0), 1), dtype=np.float64)


def _percentiles(values: NDArray[np.float64]) -> Interval:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


@dataclass(frozen=True)
class Coverage:
    """Of how many intervals how many cover the truth."""

    covering: int = 0
    intervals: int = 0

    def after(self, ends: Interval, truth: float | None) -> "Coverage":
        low, high = ends
        if low is None or high is None or truth is None:
            return self
        return Coverage(self.covering + (low <= truth <= high), self.intervals + 1)

    @property
    def share(self) -> float:
        return self.covering / self.intervals

    def __str__(self) -> str:
        """The share, with its Monte Carlo standard error."""
        error = math.sqrt(self.share * (1 - self.share) / self.intervals)
        return f"{self.share:.3f} ± {error:.3f}"


Counted = dict[tuple[str, str, str], Coverage]


def simulate(plan: Plan, truth: Sequence[Scores], seed: int) -> Counted:
    """Measure many groups of one size; `truth` are the two models' measures of the population."""
    counted: Counted = {}
    for number in range(plan.replications):
        rng = stream(seed, "coverage", plan.patients, plan.windows, number)
        group = Group.drawn(plan.patients, plan.windows, rng)
        found = [group.measured(model) for model in (0, 1)]
        if not found[0].macro_classes:
            continue
        for key, (ends, classes) in intervals(group, found, plan.draws, number, rng).items():
            _, metric, what = key
            true, other = (figure(one, metric, classes) for one in truth)
            if what == "difference" and true is not None and other is not None:
                true -= other
            counted[key] = counted.get(key, Coverage()).after(ends, true)
    return counted


def table(counted: dict[Plan, Counted]) -> list[str]:
    """One line per size and figure."""
    lines = [
        f"| patients | windows of each | groups | figure | {' | '.join(METHODS)} |",
        f"| --- | --- | --- | --- |{' --- |' * len(METHODS)}",
    ]
    for plan, found in counted.items():
        for metric, title in METRICS.items():
            for what, words in (("value", title), ("difference", f"difference in {title}")):
                cells = [str(found[method, metric, what]) for method in METHODS]
                n = found["now", metric, what].intervals
                start = f"| {plan.patients} | {plan.windows} | {n} of {plan.replications}"
                lines.append(f"{start} | {words} | {' | '.join(cells)} |")
    return lines


def verdict(counted: dict[Plan, Counted]) -> str:
    """Where the aim is missed."""
    missed = [
        f"{METRICS[metric]} ({what}) of {plan.patients} patients with {plan.windows}: {one}"
        for plan, found in counted.items()
        for (method, metric, what), one in found.items()
        if method == "now" and one.share < AIM
    ]
    return f"Below {AIM:.0%} now: {'; '.join(missed) if missed else 'nowhere'}."


def main() -> None:
    """Simulate, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=Path("docs/coverage.md"))
    options = parser.parse_args()
    counted: dict[Plan, Counted] = {}
    countdown = Countdown(len(PLANS))
    for windows in (1, 8):
        rng = stream(options.seed, "population", windows)
        population = Group.drawn(POPULATION // windows, windows, rng)
        truth = [population.measured(model) for model in (0, 1)]
        for plan in PLANS:
            if plan.windows == windows:
                counted[plan] = simulate(plan, truth, options.seed)
                countdown.done(str(plan))
    head = f"`{command('studies.coverage', data=False)}`, seed {options.seed}."
    text = "\n".join([head, "", *table(counted), "", verdict(counted)])
    print(text)
    put_between_marks(options.results, "coverage", text)


if __name__ == "__main__":
    main()
