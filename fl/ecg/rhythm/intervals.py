"""How fast and how regularly the heart beats, from the intervals between R peaks."""

import numpy as np
from numpy.typing import NDArray

FEWEST_INTERVALS = 2  # three beats
LARGE_CHANGE = 0.1  # s, from one interval to the next
EARLY = 0.85  # of the median interval
MATCH_SECONDS = 0.03  # how near two intervals must be to be alike, for the entropy
FEWEST_MATCHES = 5
REPEATED = 3  # an interval is compared with so many before it


def interval_measures(seconds: NDArray[np.float64]) -> dict[str, float]:
    """Rate and irregularity of beats at these times (beat,), in s; {} with fewer than three beats.

    `heart rate` is the log of beats per minute; `rr variation` and `rr rmssd` are the log10 of the
    intervals' standard deviation and of the root mean square of their successive differences
    (Task Force 1996, 10.1161/01.CIR.93.5.1043), both divided by the mean interval; `rr changes` is
    the share of successive differences above 0.1 s, `rr early` that of intervals below 0.85 of the
    median; `rr shortest` and `rr longest` are logs of ratios to the median; `rr irregular` is the
    log10 of the median distance of an interval to the nearest of the three before it: bigeminy
    repeats an interval, fibrillation does not. `rr entropy` is the coefficient of sample entropy.
    """
    intervals = np.diff(seconds)
    if len(intervals) < FEWEST_INTERVALS:
        return {}
    mean, median = float(intervals.mean()), float(np.median(intervals))
    changes = np.diff(intervals)
    return {
        "heart rate": float(np.log(60 / mean)),
        "rr variation": float(np.log10(intervals.std() / mean + 0.005)),
        "rr rmssd": float(np.log10(np.sqrt(np.mean(changes**2)) / mean + 0.005)),
        "rr changes": float(np.mean(np.abs(changes) > LARGE_CHANGE)),
        "rr early": float(np.mean(intervals < EARLY * median)),
        "rr shortest": float(np.log(intervals.min() / median)),
        "rr longest": float(np.log(intervals.max() / median)),
        "rr irregular": float(np.log10(np.median(_nearest_before(np.log(intervals))) + 0.005)),
        "rr entropy": sample_entropy_coefficient(intervals),
    }


def _nearest_before(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each value, from the second on, to the nearest of the three before it."""
    return np.array(
        [np.abs(logs[max(0, i - REPEATED) : i] - logs[i]).min() for i in range(1, len(logs))]
    )


def sample_entropy_coefficient(intervals: NDArray[np.float64]) -> float:
    """Coefficient of sample entropy of RR intervals (interval,), in s: high in fibrillation.

    Of the pairs of like intervals, the share whose next intervals are alike too: minus its log,
    plus the log of twice the tolerance in s, minus the log of the mean interval in s. Made for
    records of a dozen beats. Source: Lake & Moorman 2011, 10.1152/ajpheart.00561.2010. As there,
    templates have one interval, and the tolerance, 30 ms, grows until five pairs are alike.
    """
    distance = np.abs(intervals[:, None] - intervals[None, :])
    first, second = np.triu_indices(len(intervals) - 1, k=1)
    now, then = distance[first, second], distance[first + 1, second + 1]
    if not len(now):  # two intervals: no pair has a next one
        return float(np.log(2 * MATCH_SECONDS) - np.log(intervals.mean()))
    both = np.sort(np.maximum(now, then))
    tolerance = max(MATCH_SECONDS, float(both[min(FEWEST_MATCHES, len(both)) - 1]))
    alike, still = np.sum(now <= tolerance), np.sum(both <= tolerance)
    return float(np.log(alike / still) + np.log(2 * tolerance) - np.log(intervals.mean()))
