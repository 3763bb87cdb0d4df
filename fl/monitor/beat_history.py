"""The causal features of heartbeats, one beat at a time.

They are those of `fl.ecg.beat_features.beat_features` with `causal=True`, which is written for a
whole recording; here the last two hundred beats are remembered, and the cost of a beat is the
same after a day. A test compares the two.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fl.ecg.beat_features import (
    LIMIT,
    P_WAVE,
    QRS,
    T_FADE,
    T_WAVE,
    TYPICAL_INTERVAL,
    UNITS,
)
from fl.ecg.beat_segments import BEAT_AFTER, BEAT_BEFORE, BEAT_FS
from fl.monitor.recent import Recent, RecentRows, Values

SHORTEST = 1e-3  # s between beats, as in `timing`
CENTRES, SCALES = (np.array(column) for column in zip(*UNITS.values(), strict=True))
# What needs the next beat: log ratios of 1, as in `timing`.
UNKNOWN_YET = dict.fromkeys(
    (
        *("post/pre", "post/local", "post/around 20", "post/around 60", "post/longest"),
        *("post/recording 75", "post2/around 20", "post2/post", "pair/around 20"),
        "post surprise",
    ),
    0.0,
)


@dataclass(frozen=True, kw_only=True)
class BeatInput:
    """What a network of the task `beat-causal` reads of a beat."""

    signal: NDArray[np.float32]  # (2, sample) at NETWORK_FS
    features: NDArray[np.float32]  # (feature,)


class BeatHistory:
    """Beats in, one by one, in order of time; what a network reads of each comes out."""

    def __init__(self) -> None:
        """Without any beat."""
        self._first: tuple[NDArray[np.float32], float] | None = None
        self._timing = _Timing()
        self._shape = _Shape()
        self._energy = Recent(101)
        self._previous = 0.0  # s

    def push(self, window: NDArray[np.float32], seconds: float) -> list[BeatInput]:
        """What a network reads of a beat whose R peak is at `seconds`; of the first beat nothing.

        `window` (sample,) is lead II around the R peak at BEAT_FS without baseline. The first beat
        has no interval before it. It gets the one after it, as in `timing`, so that the second
        beat gives two results: that of the first and its own.
        """
        if self._first is None:
            self._first, self._previous = (window, seconds), seconds
            return []
        interval = max(seconds - self._previous, SHORTEST)
        made = []
        if not self._energy.count:
            made.append(self._input(self._first[0], interval, 2.0))
        made.append(self._input(window, interval, seconds - self._previous))
        self._previous = seconds
        return made

    def _input(self, window: NDArray[np.float32], pre: float, gap: float) -> BeatInput:
        self._energy.push(float((window.astype(np.float64) ** 2).mean()))
        scale = np.float32(math.sqrt(self._energy.mean(101)))
        beat = (window / (scale + np.float32(1e-6))).astype(np.float64)
        shape, median = self._shape.push(beat, gap)
        found = self._timing.push(pre) | UNKNOWN_YET | shape
        features = np.array([found[name] for name in UNITS])
        standardised = np.clip((features - CENTRES) / SCALES, -LIMIT, LIMIT)
        both = np.stack([beat, beat - median])
        return BeatInput(
            signal=((both[:, ::2] + both[:, 1::2]) / 2).astype(np.float32),
            features=standardised.astype(np.float32),
        )


class _Timing:
    """How early a beat comes, and how regular the beats before it are: `timing` of one beat."""

    def __init__(self) -> None:
        self._pre = Recent(201)
        self._surprise = Recent(61)
        self._change = Recent(61)
        self._repeated = Recent(121)
        self._sum = 0.0

    def push(self, interval: float) -> dict[str, float]:
        self._pre.push(interval)
        self._sum += interval
        count = self._pre.count
        pre, pre2, pre3, pre4 = self._pre.last(4)[::-1].tolist()
        around, around_60, local = (self._pre.mean(width) for width in (41, 121, 10))
        usual, sinus, longest = self._pre.percentiles(41, 50, 75, 90)
        longest_60, latest_60 = self._pre.percentiles(121, 90, 95)
        upper, high = self._pre.percentiles(201, 75, 90)
        (median,), (nearby,) = self._pre.percentiles(31, 50), self._pre.percentiles(11, 50)
        self._surprise.push(abs(math.log(pre / median)))
        variation = self._surprise.percentiles(61, 50)[0] + 0.03
        self._change.push(abs(math.log(pre / pre2)))
        before = [pre2, pre3, pre4][: max(count - 1, 1)]
        self._repeated.push(min(abs(math.log(pre / other)) for other in before))
        found = {
            "pre/local": pre / local,
            "local/global": local / (self._sum / count),
            "pre/around 20": pre / around,
            "pre/around 60": pre / around_60,
            "pre2/around 20": pre2 / around,
            "pre3/around 20": pre3 / around,
            "pre/pre2": pre / pre2,
            "pre/usual": pre / usual,
            "pre/sinus": pre / sinus,
            "pre/longest": pre / longest,
            "pre/longest 60": pre / longest_60,
            "pre/latest 60": pre / latest_60,
            "usual/around 20": usual / around,
            "pre/recording 75": pre / upper,
            "pre/recording 90": pre / high,
            "pre/0.75 s": pre / TYPICAL_INTERVAL,
            "nearby/0.75 s": nearby / TYPICAL_INTERVAL,
        }
        features = {name: math.log(ratio) for name, ratio in found.items()}
        features["pre surprise"] = math.log(pre / median) / variation
        for beats in (10, 30):
            width = 2 * beats + 1
            low, middle = self._change.percentiles(width, 30, 50)
            features[f"change {beats}, median"] = math.log10(middle + 0.005)
            features[f"change {beats}, mean"] = math.log10(self._change.mean(width) + 0.005)
            features[f"change {beats}, low"] = math.log10(low + 0.005)
        for beats in (30, 60):
            (middle,) = self._repeated.percentiles(2 * beats + 1, 50)
            features[f"irregular {beats}"] = math.log10(middle + 0.005)
        return features


class _Shape:
    """How a beat differs from those before it: `shape` of one beat."""

    def __init__(self) -> None:
        p = P_WAVE.stop - P_WAVE.start
        self._beats = RecentRows(101, BEAT_BEFORE + BEAT_AFTER)
        self._near = RecentRows(31, QRS.stop - QRS.start + p)
        self._without_t = RecentRows(101, p)
        self._p_rest, self._spread, self._without_t_rest = Recent(101), Recent(101), Recent(101)
        self._p_rest_near, self._alike = Recent(31), Recent(31)

    def push(self, beat: Values, gap: float) -> tuple[dict[str, float], Values]:
        """The features, and the median beat (sample,). `gap` (s) is from the beat before."""
        median = self._beats.push(beat)
        qrs, p, t = beat[QRS], beat[P_WAVE], beat[T_WAVE]
        qrs_median, p_median, t_median = median[QRS], median[P_WAVE], median[T_WAVE]
        near = self._near.push(np.concatenate([qrs, p]))
        qrs_near, p_near = near[: len(qrs)], near[len(qrs) :]
        height = float(np.abs(qrs_median).max()) + 1e-6
        size = np.abs(qrs)
        area, peak = float(size.sum()) + 1e-6, float(size.max()) + 1e-6
        area_median = float(np.abs(qrs_median).sum()) + 1e-6
        p_rest, p_rest_near = _rest(p - p_median), _rest(p - p_near)
        alike = _correlation(p, p_near)
        without_t = p - _previous_t_wave(median, gap)
        without_t_median = self._without_t.push(without_t)
        without_t_rest = _rest(without_t - without_t_median)
        spread = float(p.std())
        for recent, value in (
            (self._p_rest, p_rest),
            (self._spread, spread),
            (self._without_t_rest, without_t_rest),
            (self._p_rest_near, p_rest_near),
            (self._alike, alike),
        ):
            recent.push(value)

        def relative(value: float, recent: Recent) -> float:
            (usual,) = recent.percentiles(recent.size, 50)
            return math.log((value + 1e-3) / (usual + 1e-3))

        return {
            "qrs like median": _correlation(qrs, qrs_median),
            "qrs rest": _log(_rms(qrs - qrs_median) / height),
            "qrs width": math.log(area / peak * height / area_median),
            "qrs height": math.log(peak / height),
            "qrs area": math.log(area / area_median),
            "qrs width, absolute": math.log(area / peak),
            "qrs like neighbours": _correlation(qrs, qrs_near),
            "qrs rest, neighbours": _log(_rms(qrs - qrs_near) / height),
            "p like median": _correlation(p, p_median),
            "p rest, relative": relative(p_rest, self._p_rest),
            "p rest": _log(p_rest / height),
            "p strength": relative(spread, self._spread),
            "p of median": _log(float(np.ptp(p_median)) / height),
            "p like neighbours": alike,
            "p alike, mean": self._alike.mean(31),
            "p alike, median": self._alike.percentiles(31, 50)[0],
            "p of neighbours": _log(float(np.ptp(p_near)) / height),
            "p rest, neighbours": relative(p_rest_near, self._p_rest_near),
            "p without t": _correlation(without_t, without_t_median),
            "p without t, rest": relative(without_t_rest, self._without_t_rest),
            "t like median": _correlation(t, t_median),
            "t rest": _log(_rms(t - t_median) / height),
        }, median


def _previous_t_wave(median: Values, gap: float) -> Values:
    """The part of the previous beat's T wave in the P window, from the median beat: (sample,)."""
    after = median[BEAT_BEFORE:]
    start, end = T_FADE
    fade = np.clip((end - np.arange(len(after))) / (end - start), 0, 1)
    first = round(gap * BEAT_FS) + P_WAVE.start - BEAT_BEFORE
    places = first + np.arange(P_WAVE.stop - P_WAVE.start)
    inside = (places >= 0) & (places < len(after))
    return np.where(inside, (after * fade)[places.clip(0, len(after) - 1)], 0.0)


def _rms(difference: Values) -> float:
    return math.sqrt(float((difference**2).mean()))


def _rest(difference: Values) -> float:
    """Root mean square of a difference, whatever its mean."""
    return _rms(difference - difference.mean())


def _correlation(row: Values, other: Values) -> float:
    """Pearson's correlation; 0 where a row is flat."""
    a, b = row - row.mean(), other - other.mean()
    return float((a * b).sum() / math.sqrt(float((a**2).sum() * (b**2).sum()) + 1e-9))


def _log(ratio: float) -> float:
    return math.log(ratio + 0.01)
