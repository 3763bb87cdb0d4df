"""From a network's probabilities to an answer: calibration, thresholds, and what excludes what."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fl.ecg.tasks import Task
from fl.evaluation.decisions.platt_scaling import (
    DECIMALS,
    IDENTITY,
    PlattMap,
    fit_platt,
    log_odds,
    sigmoid,
)
from fl.evaluation.decisions.score_histograms import ScoreHistograms, empty_histograms
from fl.evaluation.decisions.thresholds import (
    POOLED_SOURCE,
    Thresholds,
    thresholds_near,
    thresholds_of,
)
from fl.evaluation.metrics import Probs
from fl.util.json_record import JsonRecord

Sources = Sequence[str] | NDArray[np.str_]
# The odds of a finding at a source that no site trained on, against those at the sources trained
# on: archives are collected for their findings, and a closed label set leaves out everybody who
# has none. With it, as many findings are expected at Georgia and CPSC-Extra, which were not trained
# on, as there are (docs/protocol.md).
NEW_SOURCE_ODDS = 0.25


class DecisionRule(JsonRecord):
    """How a task with any number of classes per recording decides, for the recordings of a source.

    A class is predicted if its calibrated probability is at or above its threshold. The class
    `alone` (NSR: nothing else was found) excludes every other: where both are above their
    thresholds, the one that is further above (in log-odds) is predicted.
    """

    thresholds: dict[str, Thresholds]  # by source, of calibrated probabilities
    calibration: dict[str, dict[str, PlattMap]]  # by source and class
    alone: str  # a class that is predicted by itself, or ""

    def of(self, source: str) -> str:
        """The source whose entries are used: itself, or `pooled` if it has none."""
        return source if source in self.thresholds else POOLED_SOURCE

    def calibrated(self, p: Probs, sources: Sources, classes: Sequence[str]) -> Probs:
        """Calibrated probabilities, rounded as in files: (example, class) -> the same."""
        maps = [self.calibration[self.of(str(s))] for s in np.unique(sources)]
        table = np.array([[(m[c].slope, m[c].intercept) for c in classes] for m in maps])
        slope, intercept = np.moveaxis(table[_which(sources)], -1, 0)
        return np.asarray(np.round(sigmoid(slope * log_odds(p) + intercept), DECIMALS))

    def raw_thresholds(self, source: str, classes: Sequence[str]) -> list[float]:
        """The thresholds of a source as thresholds of the network's own probabilities."""
        used = self.of(source)
        maps, thresholds = self.calibration[used], self.thresholds[used]
        logits = log_odds(np.array([thresholds[c] for c in classes]))
        slope, intercept = np.array([(maps[c].slope, maps[c].intercept) for c in classes]).T
        return [float(p) for p in sigmoid((logits - intercept) / slope)]

    def decide(self, p: Probs, sources: Sources, classes: Sequence[str]) -> NDArray[np.bool_]:
        """Which classes are predicted, from calibrated probabilities: (example, class)."""
        rows = [self.thresholds[self.of(str(s))] for s in np.unique(sources)]
        threshold = np.array([[row[c] for c in classes] for row in rows])[_which(sources)]
        predicted = np.asarray(p >= threshold)
        if self.alone not in classes:
            return predicted
        alone = list(classes).index(self.alone)
        margin = np.where(predicted, log_odds(p) - log_odds(threshold), -np.inf)
        others = np.delete(margin, alone, axis=1).max(axis=1, initial=-np.inf)
        single = predicted[:, alone] & (margin[:, alone] >= others)
        predicted[:, alone] = single
        predicted[np.ix_(single, np.arange(len(classes)) != alone)] = False
        return predicted


def _which(sources: Sources) -> NDArray[np.int64]:
    """(example,) the place of its source among the sorted sources."""
    return np.asarray(np.unique(sources, return_inverse=True)[1], dtype=np.int64)


def choose_rule(by_source: Mapping[str, ScoreHistograms], task: Task) -> DecisionRule | None:
    """The rule that validation scores of each source lead to; None for one class per example.

    Only sums over sites are needed. Each source has its own entries, because sources differ in
    prevalence and in what their readers call normal. Those of `pooled` are for a source that no
    site trained on.
    """
    if task.exclusive:
        return None
    whole = sum(by_source.values(), start=empty_histograms(len(task.classes)))
    common = _fits(whole, task, dict.fromkeys(task.classes, IDENTITY))
    shared = thresholds_of(whole, common, task.classes)
    rarer = {name: NEW_SOURCE_ODDS for name in task.classes if name != task.alone}
    new = {name: _with_odds(fit, rarer.get(name, 1.0)) for name, fit in common.items()}
    calibration = {POOLED_SOURCE: new}
    thresholds = {POOLED_SOURCE: thresholds_of(whole, new, task.classes, rarer)}
    for source, scores in sorted(by_source.items()):
        own = _fits(scores, task, common)
        calibration[source] = own
        thresholds[source] = thresholds_near(shared, scores, own, task.classes)
    return DecisionRule(thresholds=thresholds, calibration=calibration, alone=task.alone)


def _with_odds(fit: PlattMap, odds: float) -> PlattMap:
    """The calibration where there are `odds` times as many patients with the class."""
    return PlattMap(slope=fit.slope, intercept=round(fit.intercept + math.log(odds), DECIMALS))


def own_rule(
    sent: DecisionRule, by_source: Mapping[str, ScoreHistograms], task: Task
) -> DecisionRule:
    """The rule of a model that a site has trained further, from its own validation scores.

    Calibration and thresholds of the site's sources are fitted again and moved towards those that
    were sent where the site has few patients; those of other sources stay.
    """
    calibration, thresholds = dict(sent.calibration), dict(sent.thresholds)
    for source, scores in sorted(by_source.items()):
        before = sent.of(source)
        calibration[source] = _fits(scores, task, sent.calibration[before])
        thresholds[source] = thresholds_near(
            sent.thresholds[before], scores, calibration[source], task.classes
        )
    return DecisionRule(thresholds=thresholds, calibration=calibration, alone=sent.alone)


def _fits(
    scores: ScoreHistograms, task: Task, prior: Mapping[str, PlattMap]
) -> dict[str, PlattMap]:
    """The calibration of each class, near `prior` where few patients are counted."""
    return {
        name: fit_platt(scores.positive[c], scores.negative[c], prior[name])
        for c, name in enumerate(task.classes)
    }


def answer(
    rule: DecisionRule | None, p: Probs, sources: Sources, classes: Sequence[str]
) -> tuple[Probs, NDArray[np.bool_]]:
    """Probabilities as they are reported and the classes that are predicted: (example, class).

    Without a rule the most probable class is predicted, exactly one, and probabilities stay.
    """
    if rule is None:
        return p, np.asarray(np.eye(len(classes), dtype=bool)[p.argmax(axis=1)])
    if not len(p):
        return p, np.zeros(p.shape, dtype=bool)
    calibrated = rule.calibrated(p, sources, classes)
    return calibrated, rule.decide(calibrated, sources, classes)
