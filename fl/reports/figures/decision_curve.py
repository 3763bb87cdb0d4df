"""Decision curves: is acting on the model's probability worth more than treating all or none?

Net benefit = TP/n - FP/n * t/(1 - t) at threshold probability t, where t/(1 - t) is how many
false positives one true positive is worth. Source: Vickers & Elkin 2006,
10.1177/0272989X06295361. Each patient has the weight one, whatever the number of examples.
"""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fl.evaluation.predictions import Predictions
from fl.reports.figures.svg import REFERENCE, WIDTH, Drawing, class_ink, inline, styled

MIN_PATIENTS = 10  # who show the class, and who do not: with fewer a curve is noise
THRESHOLDS = np.arange(0.01, 0.81, 0.01)
Values = NDArray[np.float64]


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit of the model, and of treating everybody, at each of THRESHOLDS."""

    model: Values
    treat_all: Values


def decision_curve(truth: NDArray[np.bool_], p: Values, weights: Values) -> DecisionCurve:
    """Net benefit at each threshold probability: truth, p and weights are (example,)."""
    share = weights / weights.sum()
    odds = THRESHOLDS / (1 - THRESHOLDS)
    chosen = p[None, :] >= THRESHOLDS[:, None]
    true = (chosen * (share * truth)).sum(axis=1)
    false = (chosen * (share * ~truth)).sum(axis=1)
    prevalence = float((share * truth).sum())
    return DecisionCurve(true - false * odds, prevalence - (1 - prevalence) * odds)


def patient_weights(patients: NDArray[np.str_]) -> Values:
    """One over the number of a patient's examples: (example,)."""
    _, of, counts = np.unique(patients, return_inverse=True, return_counts=True)
    return np.asarray(1 / counts[of])


def curves(predictions: Predictions) -> dict[int, DecisionCurve]:
    """Column of each class with enough patients -> its decision curve."""
    found = {}
    for c in range(len(predictions.classes)):
        known = predictions.labels[:, c] >= 0
        truth, patients = predictions.labels[known, c] == 1, predictions.patient[known]
        if min(len(set(patients[truth])), len(set(patients[~truth]))) < MIN_PATIENTS:
            continue
        p = predictions.probabilities[known, c]
        found[c] = decision_curve(truth, p, patient_weights(patients))
    return found


@styled
def decision_curves(predictions: Predictions) -> Drawing | None:
    """A small decision curve for each class with enough patients; None if none has."""
    found = curves(predictions)
    if not found:
        return None
    lines = (len(found) + 1) // 2
    figure = Figure(figsize=(WIDTH, 0.5 + 1.35 * lines), layout="constrained")
    grid = figure.subplots(lines, 2, squeeze=False, sharex=True)
    for axes, (c, curve) in zip(grid.flat, found.items(), strict=False):
        top = max(curve.model.max(), curve.treat_all[0], 0.01)
        axes.plot(THRESHOLDS, curve.treat_all, "--", color=REFERENCE, linewidth=1)
        axes.axhline(0, color=REFERENCE, linewidth=1, linestyle=":")
        axes.plot(THRESHOLDS, curve.model, color=class_ink(c), linewidth=1.4)
        axes.set(ylim=(-0.35 * top, 1.1 * top), xlim=(0, THRESHOLDS[-1]))
        axes.set_title(predictions.classes[c], loc="left")
    for axes in grid.flat[len(found) :]:
        axes.set_visible(False)
    figure.supxlabel("threshold probability", fontsize=8)
    figure.supylabel("net benefit", fontsize=8)
    return inline(
        figure,
        "decision-curves",
        "Decision curves of the classes that at least "
        f"{MIN_PATIENTS} patients show and {MIN_PATIENTS} do not (Vickers and Elkin 2006). "
        "Coloured: net benefit of acting where the model's probability is at or above the "
        "threshold; dashed: of acting on everybody; dotted: on nobody. Each patient counts once. "
        "The model is of use where its line is above both.",
    )
