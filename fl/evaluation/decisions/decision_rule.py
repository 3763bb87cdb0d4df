"""From a network's probabilities to an answer: calibration, thresholds, and what excludes what."""

import math
from collections.abc import Iterator, Mapping, Sequence

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


class DecisionRule(JsonRecord):
    """How a task decides for the examples of a source.

    A class is predicted if its calibrated probability is at or above its threshold; one without a
    threshold never is. The class `alone` (NSR: nothing else was found) excludes every other: where
    both are above their thresholds, the one that is further above (in log-odds) is predicted.

    With a class `otherwise` (N of heartbeats), exactly one class is predicted: of those at or above
    their thresholds the one that is furthest above, and `otherwise` where there is none.
    """

    thresholds: dict[str, Thresholds]  # by source, of calibrated probabilities
    # By source and class; the probability of a class without an entry stays as it is.
    calibration: dict[str, dict[str, PlattMap]]
    alone: str  # a class that is predicted by itself, or ""
    otherwise: str  # the class where no threshold is reached and exactly one is predicted, or ""

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources with entries of their own: those that a site trained on."""
        return tuple(name for name in self.thresholds if name != POOLED_SOURCE)

    def of(self, source: str) -> str:
        """The source whose entries are used: itself, or `pooled` if it has none."""
        return source if source in self.thresholds else POOLED_SOURCE

    def calibrated(self, p: Probs, sources: Sources, classes: Sequence[str]) -> Probs:
        """Calibrated probabilities, rounded as in files: (example, class) -> the same."""
        found = np.array(p, dtype=np.float64)
        for source, rows in _rows_by_source(sources):
            maps = self.calibration[self.of(source)]
            for c, name in enumerate(classes):
                if name in maps:
                    found[rows, c] = sigmoid(maps[name].apply(log_odds(found[rows, c])))
        return np.asarray(np.round(found, DECIMALS))

    def raw_thresholds(self, source: str, classes: Sequence[str]) -> list[float | None]:
        """The thresholds of a source as thresholds of the network's own probabilities.

        None for a class without a threshold.
        """
        used = self.of(source)
        maps, thresholds = self.calibration[used], self.thresholds[used]
        return [maps[c].undone(thresholds[c]) if c in thresholds else None for c in classes]

    def decide(self, p: Probs, sources: Sources, classes: Sequence[str]) -> NDArray[np.bool_]:
        """Which classes are predicted, from calibrated probabilities: (example, class)."""
        threshold = np.empty(p.shape)
        for source, rows in _rows_by_source(sources):
            row = self.thresholds[self.of(source)]
            threshold[rows] = [row.get(c, np.inf) for c in classes]
        above = np.where(p >= threshold, log_odds(p) - log_odds(threshold), -np.inf)
        if self.otherwise:
            return _furthest(above, list(classes).index(self.otherwise))
        if self.alone in classes:
            return _alone_or_others(above, list(classes).index(self.alone))
        return above > -np.inf


def _rows_by_source(sources: Sources) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Each source and the rows of its examples."""
    names, which = np.unique(sources, return_inverse=True)
    for place, name in enumerate(names.tolist()):
        yield name, np.flatnonzero(which == place)


def _furthest(above: NDArray[np.float64], otherwise: int) -> NDArray[np.bool_]:
    """The class furthest above its threshold: (example, class); `otherwise` where none is."""
    reached = (above > -np.inf).any(axis=1)
    predicted = np.where(reached, above.argmax(axis=1), otherwise)
    return np.asarray(np.eye(above.shape[1], dtype=bool)[predicted])


def _alone_or_others(above: NDArray[np.float64], alone: int) -> NDArray[np.bool_]:
    """All classes above their thresholds: (example, class); `alone` by itself or not at all."""
    predicted = above > -np.inf
    others = np.delete(above, alone, axis=1).max(axis=1, initial=-np.inf)
    single = predicted[:, alone] & (above[:, alone] >= others)
    predicted[:, alone] = single
    predicted[np.ix_(single, np.arange(above.shape[1]) != alone)] = False
    return predicted


def choose_rule(by_source: Mapping[str, ScoreHistograms], task: Task) -> DecisionRule:
    """The rule that validation scores of each source lead to.

    Only sums over sites are needed. Each source has its own entries, because sources differ in
    prevalence and in what their readers call normal. Those of `pooled` are for a source that no
    site trained on. Classes that the task does not train on have no entries.
    """
    whole = sum(by_source.values(), start=empty_histograms(len(task.classes)))
    common = _fits(whole, task, dict.fromkeys(task.trainable, IDENTITY))
    decided = _columns(task, task.decided)
    shared = thresholds_of(whole.take(decided), common, task.decided)
    rarer = {name: task.new_source_odds for name in task.decided if name != task.alone}
    new = {name: _with_odds(fit, rarer.get(name, 1.0)) for name, fit in common.items()}
    calibration = {POOLED_SOURCE: new}
    thresholds = {POOLED_SOURCE: thresholds_of(whole.take(decided), new, task.decided, rarer)}
    for source, scores in sorted(by_source.items()):
        own = _fits(scores, task, common)
        calibration[source] = own
        thresholds[source] = thresholds_near(shared, scores.take(decided), own, task.decided)
    return DecisionRule(
        thresholds=thresholds,
        calibration=calibration,
        alone=task.alone,
        otherwise=task.otherwise,
    )


def _columns(task: Task, names: Sequence[str]) -> list[int]:
    return [task.classes.index(name) for name in names]


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
            sent.thresholds[before],
            scores.take(_columns(task, task.decided)),
            calibration[source],
            task.decided,
        )
    return sent.model_copy(update={"thresholds": thresholds, "calibration": calibration})


def _fits(
    scores: ScoreHistograms, task: Task, prior: Mapping[str, PlattMap]
) -> dict[str, PlattMap]:
    """The calibration of each trained class, near `prior` where few patients are counted."""
    return {
        name: fit_platt(scores.positive[c], scores.negative[c], prior[name])
        for c, name in zip(_columns(task, task.trainable), task.trainable, strict=True)
    }


def answer(
    rule: DecisionRule, p: Probs, sources: Sources, classes: Sequence[str]
) -> tuple[Probs, NDArray[np.bool_]]:
    """Probabilities as they are reported and the classes that are predicted: (example, class)."""
    calibrated = rule.calibrated(p, sources, classes)
    return calibrated, rule.decide(calibrated, sources, classes)
