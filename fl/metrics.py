"""How well a model does: per-class measures, thresholds, and intervals by patient.

Labels are (example, class) with 1 yes, 0 no, -1 not annotated; an example that does not
annotate a class says nothing about it. A measure that cannot be had is None, never 0 or nan.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.calibration import expected_calibration_error, reliability
from fl.seeds import stream

Labels = NDArray[np.int8]
Probs = NDArray[np.float64]
Thresholds = dict[str, float]
Scores = dict[str, Any]

# Histogram edges, even in log-odds, so that rare classes (small probabilities) are resolved as
# finely as common ones. Rounded like probabilities, so that both decide alike at an edge.
EDGES = np.round(1 / (1 + np.exp(-np.arange(-127, 128) / 16)), 7)
BINS = len(EDGES) + 1
# What is measured of each class; a class without a positive or a negative has None for all.
MEASURES = ("precision", "recall", "f1", "auroc", "auprc", "brier", "ece", "accuracy")
MIN_POSITIVES = 5  # fewer in validation: a source takes the pooled threshold


@dataclass(frozen=True)
class Tally:
    """Scores of one split at one site, as counts that add."""

    positive: NDArray[np.int64]  # (class, BINS) examples of the class, by score
    negative: NDArray[np.int64]  # (class, BINS) annotated examples not of it, by score
    argmax: NDArray[np.int64]  # (class, 2) most probable class: how often right, how often said

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.positive + other.positive,
            self.negative + other.negative,
            self.argmax + other.argmax,
        )


def tally(labels: Labels, p: Probs) -> Tally:
    """Histogram the scores of annotated examples, per class."""
    bins = np.searchsorted(EDGES, p, side="right")  # bin k holds EDGES[k-1] <= p < EDGES[k]
    counts = [
        np.stack(
            [
                np.bincount(bins[labels[:, c] == value, c], minlength=BINS)
                for c in range(labels.shape[1])
            ]
        ).astype(np.int64)
        for value in (1, 0)
    ]
    said = np.eye(labels.shape[1], dtype=bool)[p.argmax(axis=1)]
    argmax = np.stack([(said & (labels == 1)).sum(axis=0), said.sum(axis=0)], axis=1)
    return Tally(counts[0], counts[1], argmax.astype(np.int64))


def histogram_aurocs(scores: Tally) -> list[float | None]:
    """AUROC of each class from its histogram; scores in one bin count as ties."""
    aurocs: list[float | None] = []
    for positive, negative in zip(scores.positive, scores.negative, strict=True):
        pairs = int(positive.sum()) * int(negative.sum())
        below = negative.cumsum() - negative
        wins = (positive * (below + negative / 2)).sum()
        aurocs.append(float(wins / pairs) if pairs else None)
    return aurocs


def confusion(scores: Tally, thresholds: Sequence[float] | None = None) -> NDArray[np.int64]:
    """Counts that add, by thresholds (each one of EDGES) or by the most probable class.

    (class, 4): said rightly, said, positive, negative.
    """
    positive, negative = scores.positive.sum(axis=1), scores.negative.sum(axis=1)
    if thresholds is None:
        return np.stack([scores.argmax[:, 0], scores.argmax[:, 1], positive, negative], axis=1)
    at_least = np.arange(BINS) >= np.searchsorted(EDGES, thresholds, side="right")[:, None]
    right = (scores.positive * at_least).sum(axis=1)
    said = right + (scores.negative * at_least).sum(axis=1)
    return np.stack([right, said, positive, negative], axis=1)


def confusion_f1s(counts: NDArray[np.int64]) -> list[float | None]:
    """F1 of each class from `confusion`; None without a positive or without a negative."""
    return [
        2 * right / (said + positive) if positive and negative else None
        for right, said, positive, negative in counts.tolist()
    ]


def best_threshold(positive: NDArray[np.int64], negative: NDArray[np.int64]) -> float | None:
    """The edge with the highest F1 on a histogram; the middle one of several equal."""
    if positive.sum() == 0 or negative.sum() == 0:
        return None
    true = positive[::-1].cumsum()[::-1][1:]  # at or above EDGES[k]
    false = negative[::-1].cumsum()[::-1][1:]
    f1 = 2 * true / (true + false + positive.sum())
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    return float(EDGES[best[len(best) // 2]])


def choose_thresholds(
    by_source: Mapping[str, Tally], classes: Sequence[str]
) -> dict[str, Thresholds]:
    """Thresholds per source, and `pooled` for a source nobody trained on.

    A source with fewer than MIN_POSITIVES of a class takes the pooled one; a class with no
    positive anywhere takes 0.5. Thresholds do not travel between sources: a source differs
    from the next in prevalence and in what its readers call normal.
    """
    whole = sum(by_source.values(), start=empty_tally(len(classes)))
    pooled = {
        name: best_threshold(whole.positive[c], whole.negative[c]) or 0.5
        for c, name in enumerate(classes)
    }
    chosen = {"pooled": pooled}
    for source, scores in sorted(by_source.items()):
        chosen[source] = dict(pooled)
        for c, name in enumerate(classes):
            if scores.positive[c].sum() >= MIN_POSITIVES:
                own = best_threshold(scores.positive[c], scores.negative[c])
                chosen[source][name] = pooled[name] if own is None else own
    return chosen


def empty_tally(classes: int) -> Tally:
    """A tally of nothing."""
    none = np.zeros((classes, BINS), dtype=np.int64)
    return Tally(none, none, np.zeros((classes, 2), dtype=np.int64))


def mean_of(values: Sequence[float | None]) -> float | None:
    """Mean of those that could be measured."""
    known = [v for v in values if v is not None]
    return math.fsum(known) / len(known) if known else None


def decide(
    p: Probs,
    sources: Sequence[str] | NDArray[np.str_],
    thresholds: Mapping[str, Thresholds] | None,
    classes: Sequence[str],
) -> NDArray[np.bool_]:
    """Which classes are said to be present: (example, class).

    Without thresholds the most probable class, exactly one; with them every class at or above
    the threshold of the example's source, or the pooled one where that source has none.
    """
    if thresholds is None:
        return np.asarray(np.eye(len(classes), dtype=bool)[p.argmax(axis=1)])
    rows = [thresholds.get(str(s), thresholds["pooled"]) for s in np.unique(sources)]
    table = np.array([[row[c] for c in classes] for row in rows])
    _, which = np.unique(sources, return_inverse=True)
    return np.asarray(p >= table[which])


def scores(
    labels: Labels,
    p: Probs,
    said: NDArray[np.bool_],
    classes: Sequence[str],
    *,
    brief: bool = False,
) -> Scores:
    """Every measure of one group of examples, by scikit-learn; if `brief`, F1 and AUROC alone.

    A macro average takes the classes with at least one positive and one negative annotated
    example, and `macro_classes` names them. `accuracy` is the mean one-vs-rest accuracy over
    them: it is high for rare classes whatever the model does, so read it beside macro-F1.
    """
    per_class = _class_scores(labels, p, said, brief)
    measured = [c for c, entry in zip(classes, per_class, strict=True) if entry["f1"] is not None]
    means = {m: mean_of([entry[m] for entry in per_class]) for m in MEASURES}
    return {
        "n_records": len(labels),
        "macro_classes": measured,
        **{f"macro_{m}": mean for m, mean in means.items() if m != "accuracy"},
        "accuracy": means["accuracy"],
        "classes": dict(zip(classes, per_class, strict=True)),
    }


def _class_scores(
    labels: Labels, p: Probs, said: NDArray[np.bool_], brief: bool
) -> list[dict[str, float | int | None]]:
    """Each class against the rest, over the examples that annotate it.

    AUPRC is average precision; chance gives the prevalence, so it stands beside it.
    """
    known = labels >= 0
    entries, together = [], dict[bytes, list[int]]()
    for c in range(labels.shape[1]):
        n, n_positive = int(known[:, c].sum()), int((labels[:, c] == 1).sum())
        entry: dict[str, float | int | None] = {"n": n, "positive": n_positive}
        entries.append(
            entry | {"prevalence": n_positive / n if n else None} | dict.fromkeys(MEASURES)
        )
        if 0 < n_positive < n:
            together.setdefault(known[:, c].tobytes(), []).append(c)
    for columns in together.values():
        rows = known[:, columns[0]]
        truth, guess = labels[rows][:, columns] == 1, said[rows][:, columns]
        for c, found in zip(
            columns, _measures(truth, p[rows][:, columns], guess, brief), strict=True
        ):
            entries[c] |= found
    return entries


def _measures(
    truth: NDArray[np.bool_], p: Probs, guess: NDArray[np.bool_], brief: bool
) -> list[dict[str, float]]:
    """The measures of several classes that the same examples annotate: (example, class) each.

    At once, because of a small group scikit-learn takes longer to check its input than to measure.
    """
    # Imported here: it takes as long as a small round, and workers need it on test alone.
    from sklearn.metrics import (
        average_precision_score,
        brier_score_loss,
        precision_recall_fscore_support,
        roc_auc_score,
    )

    # What has one column would pass for binary labels, and be averaged over both.
    one = truth.shape[1] == 1
    shape = {"average": "binary"} if one else {"average": None}
    given = (truth[:, 0], guess[:, 0]) if one else (truth, guess)
    precision, recall, f1, _ = precision_recall_fscore_support(*given, zero_division=0.0, **shape)
    measured = {"f1": f1, "auroc": roc_auc_score(truth, p, average=None)}
    if not brief:
        measured |= {
            "precision": precision,
            "recall": recall,
            "auprc": average_precision_score(truth, p, average=None),
            "brier": [brier_score_loss(t, q) for t, q in zip(truth.T, p.T, strict=True)],
            "ece": [
                expected_calibration_error(reliability(t, q))
                for t, q in zip(truth.T, p.T, strict=True)
            ],
            "accuracy": (truth == guess).mean(axis=0),
        }
    columns = {name: np.atleast_1d(values).tolist() for name, values in measured.items()}
    return [{k: float(v[c]) for k, v in columns.items()} for c in range(truth.shape[1])]


@dataclass(frozen=True)
class Draws:
    """Bootstrap draws of one group: each row is how often each patient was drawn."""

    weights: NDArray[np.float64]  # (draw, patient)
    patient: NDArray[np.int64]  # (example,) its patient


def draw_patients(
    patients: NDArray[np.str_], seed: int, draws: int = 1000, *, group: str = ""
) -> Draws:
    """Draw patients with replacement: records of one patient are not independent.

    Groups of other names are drawn independently of each other, even if they are of one size.
    """
    names, patient = np.unique(patients, return_inverse=True)
    rng = stream(seed, "bootstrap", len(names), *([group] if group else []))
    picks = rng.integers(0, len(names), size=(draws, len(names)))
    weights = np.stack([np.bincount(row, minlength=len(names)) for row in picks])
    return Draws(weights.astype(np.float64), patient)


def bootstrap_macro(
    labels: Labels, p: Probs, said: NDArray[np.bool_], draws: Draws
) -> dict[str, NDArray[np.float64]]:
    """macro_f1 and macro_auroc of each draw: (draw,) each; nan where no class is measurable.

    The classes of a draw are those with a positive and a negative example in that draw.
    """
    n_draws, n_patients = draws.weights.shape
    f1s, aurocs = [], []
    for c in range(labels.shape[1]):
        known = labels[:, c] >= 0
        truth, guess, who = labels[known, c] == 1, said[known, c], draws.patient[known]

        def drawn(mask: NDArray[np.bool_], who: NDArray[np.int64] = who) -> NDArray[np.float64]:
            return draws.weights @ np.bincount(who[mask], minlength=n_patients)

        positive, negative = drawn(truth), drawn(~truth)
        true, claimed = drawn(truth & guess), drawn(guess)
        measurable = (positive > 0) & (negative > 0)
        with np.errstate(invalid="ignore"):
            f1s.append(np.where(measurable, 2 * true / (positive + claimed), np.nan))
        aurocs.append(_weighted_aurocs(truth, p[known, c], who, draws.weights))
    return {
        name: _nanmean(np.stack(columns)) if columns else np.full(n_draws, np.nan)
        for name, columns in (("macro_f1", f1s), ("macro_auroc", aurocs))
    }


def interval(values: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """The middle 95% of the draws."""
    known = values[np.isfinite(values)]
    if len(known) < 20:
        return None, None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def _weighted_aurocs(
    truth: NDArray[np.bool_],
    p: Probs,
    who: NDArray[np.int64],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """AUROC of one class under each draw's weights: (draw,)."""
    # How often a patient's positives score above another's negatives does not depend on the draw,
    # so a draw is two products. Counts and halves: the sums are exact in any order.
    with_positive, of_positive = np.unique(who[truth], return_inverse=True)
    with_negative, of_negative = np.unique(who[~truth], return_inverse=True)
    by_patient = np.split(
        p[~truth][np.lexsort((p[~truth], of_negative))], np.bincount(of_negative).cumsum()[:-1]
    )
    wins = np.empty((len(with_positive), len(with_negative)))
    for one, theirs in enumerate(by_patient[: len(with_negative)]):
        beaten = [np.searchsorted(theirs, p[truth], side) for side in ("left", "right")]
        wins[:, one] = np.bincount(of_positive, sum(beaten) / 2, minlength=len(with_positive))
    positive, negative = weights[:, with_positive], weights[:, with_negative]
    won = ((positive @ wins) * negative).sum(axis=1)
    pairs = (positive @ np.bincount(of_positive)) * (negative @ np.bincount(of_negative))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pairs > 0, won / pairs, np.nan)


def _nanmean(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the first axis of what is not nan; nan where all are."""
    known = np.isfinite(rows)
    counts = known.sum(axis=0)
    sums = np.where(known, rows, 0).sum(axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
