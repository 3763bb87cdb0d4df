"""How well an attack tells training patients from others, in figures that count patients.

An attack gives each patient one score, higher for those it takes for training patients (members).
Members are compared with non-members of the same group (site and source) alone: otherwise an
attack would be praised for telling two sources apart.
"""

import math

import numpy as np
from numpy.typing import NDArray

from fl.evaluation.bootstrap import MIN_INTERVAL_PATIENTS, BootstrapEstimate, interval
from fl.evaluation.group_evaluation import Estimate
from fl.util.json_record import JsonRecord
from fl.util.random_streams import stream

FALSE_POSITIVES = 0.01  # rate at which the true-positive rate is taken
CONFIDENCE = 0.95
DRAWS = 1000
Values = NDArray[np.float64]
Marks = NDArray[np.bool_]
Counts = NDArray[np.int64]


class Success(JsonRecord):
    """An attack's success on some patients; None where too few of them allow no statement."""

    members: int  # patients
    non_members: int  # patients
    unmatched: int  # patients left out: their site and source has no member, or no non-member
    auc: Estimate
    tpr: Estimate  # share of members found where at most 1% of non-members are taken for members
    fpr: Estimate  # the share of non-members that are really taken for members there
    epsilon: float | None  # no mechanism with a smaller epsilon allows this attack; 95% confidence
    epsilon_limit: float | None  # the most that so many patients can show


def measure(scores: Values, members: Marks, groups: NDArray[np.str_], delta: float) -> Success:
    """An attack's success: (patient,) scores, whether a member, and the group of each.

    Fewer than ten members or non-members give no interval. The interval of the area under the
    curve is by bootstrap over patients within group and membership, those of rates are Clopper &
    Pearson's 1934, 10.1093/biomet/26.4.404. `delta` is that of (epsilon, delta).
    """
    matched = _has_both(members, groups)
    unmatched = int((~matched).sum())
    scores, members, groups = scores[matched], members[matched], groups[matched]
    n_in, n_out = int(members.sum()), int((~members).sum())
    few = min(n_in, n_out) < MIN_INTERVAL_PATIENTS
    level = comparable(scores, groups)
    found, false = true_positives(level[members], level[~members])
    epsilon, limit = epsilon_bound(level, members, delta)
    return Success(
        members=n_in,
        non_members=n_out,
        unmatched=unmatched,
        auc=_auc(scores, members, groups),
        tpr=_rate(found, n_in, few),
        fpr=_rate(false, n_out, few),
        epsilon=epsilon,
        epsilon_limit=limit,
    )


def comparable(scores: Values, groups: NDArray[np.str_]) -> Values:
    """Scores of several groups on one scale: minus the group's median, over its quartile range.

    Both are of members and non-members together, so that no membership is used. (patient,) ->
    (patient,).
    """
    level = scores.astype(np.float64).copy()
    for group in np.unique(groups):
        own = groups == group
        low, middle, high = np.quantile(scores[own], [0.25, 0.5, 0.75])
        width = high - low or scores[own].std() or 1.0
        level[own] = (scores[own] - middle) / width
    return level


def true_positives(members: Values, non_members: Values) -> tuple[int, int]:
    """Members and non-members above the threshold that at most 1% of non-members pass.

    With fewer than 100 non-members none of them may pass.
    """
    if not len(non_members):
        return 0, 0
    allowed = math.floor(FALSE_POSITIVES * len(non_members))
    threshold = np.sort(non_members)[::-1][allowed]
    return int((members > threshold).sum()), int((non_members > threshold).sum())


def clopper_pearson(hits: int, n: int) -> tuple[float, float]:
    """The exact 95% interval of a share: `hits` of `n`; 0 to 1 where nothing is known."""
    low, high = _bounds(np.array([hits]), n)
    return float(low[0]), float(high[0])


def _bounds(hits: Counts, n: int) -> tuple[Values, Values]:
    """Lower and upper ends of several shares of one `n`: quantiles of beta distributions."""
    from scipy.special import betaincinv

    tail = (1 - CONFIDENCE) / 2
    low, high = np.zeros(len(hits)), np.ones(len(hits))
    some, not_all = hits > 0, hits < n
    low[some] = betaincinv(hits[some], n - hits[some] + 1, tail)
    high[not_all] = betaincinv(hits[not_all] + 1, n - hits[not_all], 1 - tail)
    return low, high


def epsilon_bound(
    scores: Values, members: Marks, delta: float, seed: int = 0
) -> tuple[float | None, float | None]:
    """A lower bound on epsilon that the attack shows, and the largest that it could show.

    Of an (epsilon, delta) private training no attack has TPR > e^epsilon FPR + delta (Kairouz et
    al. 2015, arXiv:1311.0776). TPR and FPR are replaced by the unfavourable ends of their
    Clopper-Pearson intervals, as in Jagielski et al. 2020, arXiv:2006.07709. We differ: the
    threshold is chosen on one half of the patients and measured on the other, because the best
    one would otherwise be praised for luck. None where that half has fewer than ten members or
    non-members.
    """
    order = stream(seed, "epsilon", len(scores)).permutation(len(scores))
    half = np.zeros(len(scores), dtype=bool)
    for kind in (members, ~members):
        own = order[kind[order]]
        half[own[: len(own) // 2]] = True
    n_in, n_out = int(members[~half].sum()), int((~members)[~half].sum())
    if min(n_in, n_out) < MIN_INTERVAL_PATIENTS:
        return None, None
    threshold = _best_threshold(scores[half], members[half], delta)
    taken = scores[~half] > threshold
    inside = members[~half]
    found, false = int((taken & inside).sum()), int((taken & ~inside).sum())
    measured = epsilon_of_counts(found, n_in, false, n_out, delta)
    return measured, epsilon_of_counts(n_in, n_in, 0, n_out, delta)


def epsilon_of_counts(found: int, n_in: int, false: int, n_out: int, delta: float) -> float:
    """The lower bound on epsilon from `found` of `n_in` members and `false` of `n_out` others.

    Both ends hold together with 95% confidence.
    """
    return float(_epsilons(np.array([found]), n_in, np.array([false]), n_out, delta)[0])


def _epsilons(found: Counts, n_in: int, false: Counts, n_out: int, delta: float) -> Values:
    """`epsilon_of_counts` at several thresholds: (threshold,) counts."""
    tpr, fpr = _bounds(found, n_in)[0], _bounds(false, n_out)[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        shown = [np.log((tpr - delta) / fpr), np.log((1 - fpr - delta) / (1 - tpr))]
    known = np.nan_to_num(np.stack(shown), nan=0.0, neginf=0.0)
    return np.asarray(np.maximum(0.0, known.max(axis=0)))


def _best_threshold(scores: Values, members: Marks, delta: float) -> float:
    """The threshold between two scores that shows the most; the middle one of equals."""
    places = np.unique(scores)
    thresholds = (places[1:] + places[:-1]) / 2 if len(places) > 1 else places
    inside, outside = np.sort(scores[members]), np.sort(scores[~members])
    found = len(inside) - np.searchsorted(inside, thresholds, "right")
    false = len(outside) - np.searchsorted(outside, thresholds, "right")
    shown = _epsilons(found, len(inside), false, len(outside), delta)
    best = np.flatnonzero(shown >= shown.max() - 1e-12)
    return float(thresholds[best[len(best) // 2]])


def _has_both(members: Marks, groups: NDArray[np.str_]) -> Marks:
    both = set(groups[members].tolist()) & set(groups[~members].tolist())
    return np.isin(groups, sorted(both))


def _rate(hits: int, n: int, few: bool) -> Estimate:
    if not n:
        return Estimate(value=None, low=None, high=None)
    low, high = (None, None) if few else clopper_pearson(hits, n)
    return Estimate(value=hits / n, low=low, high=high)


def _auc(scores: Values, members: Marks, groups: NDArray[np.str_]) -> Estimate:
    """How often a member scores above a non-member of its group; each member counts once."""
    n_in, n_out = int(members.sum()), int((~members).sum())
    if not n_in:
        return Estimate(value=None, low=None, high=None)
    rng = stream(0, "attack", n_in, n_out)
    value, draws = 0.0, np.zeros(DRAWS)
    for group in np.unique(groups):
        inside, outside = scores[members & (groups == group)], scores[~members & (groups == group)]
        wins = (inside[:, None] > outside) + 0.5 * (inside[:, None] == outside)
        share = len(inside) / n_in
        value += share * float(wins.mean())
        drawn_in, drawn_out = (
            rng.multinomial(n, np.full(n, 1 / n), size=DRAWS) / n for n in wins.shape
        )
        draws += share * ((drawn_in @ wins) * drawn_out).sum(axis=1)
    fewer = min(n_in, n_out)
    low, high = interval(BootstrapEstimate(value, draws, fewer, fewer - 1), fewer)
    return Estimate(value=value, low=low, high=high)
