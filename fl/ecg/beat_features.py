"""Timing and shape of heartbeats as numbers relative to the same patient.

All features but two (RR intervals compared with 0.75 s) are relative to the same patient: to the
median beat, the usual interval. Wave shapes learnt from one patient do not fit the next. By default
the whole recording is used, which is only possible offline; `causal=True` uses only what came
before, as a monitor would that answers one second after the beat.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.ecg.beat_segments import BEAT_BEFORE, BEAT_FS
from fl.ecg.rolling_statistics import (
    Column,
    Rows,
    median_of_neighbours,
    rolling_mean,
    rolling_percentile,
    usual_beat,
)

TYPICAL_INTERVAL = 0.75  # s, between two beats at rest
LIMIT = 4.0  # of a standardised feature, so that a pause or an artefact does not dominate

# Parts of a beat, in samples from the R peak.
QRS = slice(BEAT_BEFORE - 16, BEAT_BEFORE + 17)
P_WAVE = slice(BEAT_BEFORE - 45, BEAT_BEFORE - 12)
T_WAVE = slice(BEAT_BEFORE + 20, BEAT_BEFORE + 80)
T_FADE = 70, 90  # samples after R between which the mean T wave is faded out

# Centre and unit of each feature: fixed numbers near the median and the spread over DS1. A
# federation has no common statistics to standardise by, and fixed numbers reveal nothing of a site.
UNITS: dict[str, tuple[float, float]] = {
    # Log of a ratio of RR intervals. `pre`, `post`: the intervals before and after the beat;
    # `pre2`, `pre3`, `post2`: one and two beats further away; `local`: mean of the last ten;
    # `global`: mean of the recording; `around 20`: mean of 20 beats to each side; `usual`: their
    # median; `sinus` and `longest`: their upper quartile and decile, which remain the interval of
    # an ordinary beat even where most beats are early; `longest 60`: the upper decile of 60 beats
    # to each side; `latest 60`: their upper twentieth.
    # Means as well as medians, because in bigeminy half the intervals are early ones.
    "pre/local": (0.0, 0.15),
    "post/pre": (0.0, 0.25),
    "post/local": (0.0, 0.16),
    "local/global": (0.0, 0.10),
    "pre/around 20": (0.0, 0.16),
    "post/around 20": (0.0, 0.16),
    "pre/around 60": (0.0, 0.17),
    "post/around 60": (0.0, 0.17),
    "pre2/around 20": (0.0, 0.16),
    "pre3/around 20": (0.0, 0.16),
    "post2/around 20": (0.0, 0.16),
    "pre/pre2": (0.0, 0.25),
    "post2/post": (0.0, 0.25),
    "pair/around 20": (0.0, 0.10),
    "pre/usual": (0.0, 0.16),
    "pre/sinus": (-0.07, 0.18),
    "pre/longest": (-0.12, 0.20),
    "post/longest": (0.0, 0.20),
    "pre/longest 60": (-0.12, 0.20),
    "pre/latest 60": (-0.12, 0.20),
    "usual/around 20": (0.0, 0.06),
    # Against the whole recording (`recording 75`, `recording 90`: upper quartile and decile of its
    # intervals) and against 0.75 s (80 beats a minute): only these show that a tachycardia which
    # lasts longer than any neighbourhood is not this patient's usual rhythm.
    "pre/recording 75": (0.0, 0.2),
    "pre/recording 90": (0.0, 0.2),
    "post/recording 75": (0.0, 0.2),
    "pre/0.75 s": (0.0, 0.3),
    "nearby/0.75 s": (0.0, 0.3),
    # Prematurity and pause in units of how much the nearby intervals vary.
    "pre surprise": (0.0, 3.5),
    "post surprise": (0.0, 3.5),
    # Log10 of the relative change from interval to interval, 10 and 30 beats to each side:
    # 2% in sinus rhythm, 15% in fibrillation. The median ignores single ectopic beats.
    "change 10, median": (-1.3, 0.45),
    "change 10, mean": (-1.15, 0.45),
    "change 10, low": (-1.5, 0.45),
    "change 30, median": (-1.3, 0.45),
    "change 30, mean": (-1.12, 0.42),
    "change 30, low": (-1.5, 0.42),
    # Log10 of the smallest relative change from one of the last three intervals, its median over 30
    # and 60 beats to each side. Single early beats, bigeminy and trigeminy repeat an interval,
    # fibrillation does not: 1 to 3% there, 10% here.
    "irregular 30": (-1.6, 0.35),
    "irregular 60": (-1.6, 0.35),
    # QRS against the patient's median beat, and against the median of 15 beats to each side.
    "qrs like median": (0.95, 0.25),
    "qrs rest": (-2.2, 0.8),
    "qrs width": (0.05, 0.25),
    "qrs height": (0.0, 0.25),
    "qrs area": (0.05, 0.3),
    "qrs width, absolute": (2.0, 0.35),
    "qrs like neighbours": (0.95, 0.25),
    "qrs rest, neighbours": (-2.4, 0.8),
    # P wave likewise; `alike`: how similar nearby P waves are (not similar in fibrillation).
    "p like median": (0.7, 0.4),
    "p rest, relative": (0.1, 0.55),
    "p rest": (-3.4, 0.6),
    "p strength": (0.0, 0.4),
    "p of median": (-2.3, 0.6),
    "p like neighbours": (0.75, 0.37),
    "p alike, mean": (0.75, 0.24),
    "p alike, median": (0.8, 0.23),
    "p of neighbours": (-2.2, 0.57),
    "p rest, neighbours": (0.1, 0.5),
    # P wave without the mean T wave of the previous beat, which can hide an early P wave.
    "p without t": (0.7, 0.4),
    "p without t, rest": (0.1, 0.5),
    "t like median": (0.8, 0.37),
    "t rest": (-2.9, 0.77),
}
FEATURES = tuple(UNITS)

# The features that mostly decide S against N. In a patient most of whose beats are S, the median
# beat, the median interval and the neighbours are S too, and beats like them would be predicted
# N. These features do not depend on them: intervals against means, upper deciles, the whole
# recording and a fixed interval, how irregular they are, and whether P waves are similar.
EARLY = (
    "pre/around 20",
    "post/around 20",
    "pre/around 60",
    "post/around 60",
    "pre/local",
    "post/pre",
    "pre/longest",
    "post/longest",
    "pre/longest 60",
    "pre/latest 60",
    "change 10, mean",
    "change 30, mean",
    "change 30, median",
    "change 30, low",
    "p alike, mean",
    "pre/recording 75",
    "pre/recording 90",
    "post/recording 75",
    "pre/0.75 s",
    "nearby/0.75 s",
    "irregular 30",
    "irregular 60",
)


def beat_features(
    beats: NDArray[np.floating[Any]],
    seconds: Column,
    *,
    causal: bool = False,
    median: Rows | None = None,
) -> NDArray[np.float32]:
    """Timing and shape of each beat as the numbers named in `UNITS`: (beat, feature).

    `beats` (beat, sample) is lead II around each R peak at `BEAT_FS`, `seconds` (beat,) the times
    of the R peaks. With `causal`, a feature that needs the next beat is 0. `median` (beat, sample)
    is the `usual_beat` of the beats with the same `causal`; it is computed here unless given.
    """
    values = np.asarray(beats, dtype=np.float64)
    features = timing(seconds, causal) | shape(values, seconds, causal, median)
    columns = [
        np.broadcast_to((features[name] - centre) / unit, len(beats))
        for name, (centre, unit) in UNITS.items()
    ]
    return np.clip(np.stack(columns, axis=1), -LIMIT, LIMIT).astype(np.float32)


def timing(seconds: Column, causal: bool = False) -> dict[str, Column]:
    """How early or late each beat comes, and how regular the nearby beats are: name -> (beat,)."""
    intervals = np.maximum(np.diff(seconds), 1e-3)
    pre = np.concatenate([intervals[:1], intervals])
    post = pre if causal else np.concatenate([intervals, intervals[-1:]])
    pre2, post2 = _of_previous_beat(pre), post if causal else _of_next_beat(post)
    around = rolling_mean(pre, 20, causal)
    around_60 = rolling_mean(pre, 60, causal)
    local = rolling_mean(pre, 5, True, width=10)
    overall = pre.cumsum() / np.arange(1, len(pre) + 1) if causal else intervals.mean()
    usual, sinus, longest = (rolling_percentile(pre, 20, q, causal) for q in (50, 75, 90))
    median = rolling_percentile(pre, 15, 50, causal)
    variation = rolling_percentile(np.abs(np.log(pre / median)), 30, 50, causal) + 0.03
    change = np.abs(np.log(pre / pre2) if causal else np.log(post / pre))
    in_recording = {q: _percentile_of_recording(pre, q, causal) for q in (75, 90)}
    ratios_before = {
        "pre/local": pre / local,
        "local/global": local / overall,
        "pre/around 20": pre / around,
        "pre/around 60": pre / around_60,
        "pre2/around 20": pre2 / around,
        "pre3/around 20": _of_previous_beat(pre2) / around,
        "pre/pre2": pre / pre2,
        "pre/usual": pre / usual,
        "pre/sinus": pre / sinus,
        "pre/longest": pre / longest,
        "pre/longest 60": pre / rolling_percentile(pre, 60, 90, causal),
        "pre/latest 60": pre / rolling_percentile(pre, 60, 95, causal),
        "usual/around 20": usual / around,
        "pre/recording 75": pre / in_recording[75],
        "pre/recording 90": pre / in_recording[90],
        "pre/0.75 s": pre / TYPICAL_INTERVAL,
        "nearby/0.75 s": rolling_percentile(pre, 5, 50, causal) / TYPICAL_INTERVAL,
    }
    ratios_after = {
        "post/pre": post / pre,
        "post/local": post / local,
        "post/around 20": post / around,
        "post/around 60": post / around_60,
        "post/longest": post / longest,
        "post/recording 75": post / in_recording[75],
        "post2/around 20": post2 / around,
        "post2/post": post2 / post,
        "pair/around 20": (pre + post) / 2 / around,
    }
    if causal:
        ratios_after = {name: np.ones_like(pre) for name in ratios_after}
    features = {name: np.log(ratio) for name, ratio in (ratios_before | ratios_after).items()}
    features["pre surprise"] = np.log(pre / median) / variation
    features["post surprise"] = np.zeros_like(pre) if causal else np.log(post / median) / variation
    for beats in (10, 30):
        for name, nearby_change in (
            ("median", rolling_percentile(change, beats, 50, causal)),
            ("mean", rolling_mean(change, beats, causal)),
            ("low", rolling_percentile(change, beats, 30, causal)),
        ):
            features[f"change {beats}, {name}"] = np.log10(nearby_change + 0.005)
    repeated = _smallest_change(pre, 3)
    for beats in (30, 60):
        nearby_change = rolling_percentile(repeated, beats, 50, causal)
        features[f"irregular {beats}"] = np.log10(nearby_change + 0.005)
    return features


def _smallest_change(pre: Column, back: int) -> Column:
    """How near each interval is to one of the `back` before it, as a log ratio: (beat,)."""
    logs = np.log(pre)
    changes = [np.abs(logs[k:] - logs[:-k]) for k in range(1, min(back, len(logs) - 1) + 1)]
    smallest = np.full(len(logs), np.inf)
    for k, change in enumerate(changes, 1):
        smallest[k:] = np.minimum(smallest[k:], change)
    smallest[0] = smallest[1]  # there are at least three beats
    return smallest


def _percentile_of_recording(pre: Column, percent: int, causal: bool) -> Column:
    """Percentile of all intervals of the recording, or of the last 201 where `causal`: (beat,)."""
    if causal:
        return rolling_percentile(pre, 100, percent, causal)
    return np.full_like(pre, np.percentile(pre, percent))


def shape(
    beats: Rows, seconds: Column, causal: bool = False, median: Rows | None = None
) -> dict[str, Column]:
    """How each beat differs from the median beat and from its neighbours: name -> (beat,).

    `median` (beat, sample) is the `usual_beat` of the beats, where the caller has it.
    """
    if median is None:
        median = usual_beat(beats, causal)
    qrs, p, t = beats[:, QRS], beats[:, P_WAVE], beats[:, T_WAVE]
    qrs_median, p_median = median[:, QRS], median[:, P_WAVE]
    height = np.abs(qrs_median).max(axis=1) + 1e-6  # of the median beat: the unit of the rest
    qrs_near, p_near = median_of_neighbours(qrs, causal), median_of_neighbours(p, causal)
    area, peak = np.abs(qrs).sum(axis=1) + 1e-6, np.abs(qrs).max(axis=1) + 1e-6
    area_median = np.abs(qrs_median).sum(axis=1) + 1e-6
    p_rest, p_rest_near = (
        _rms_difference(_centred(p), _centred(p_median)),
        _rms_difference(_centred(p), _centred(p_near)),
    )
    alike = _correlation(p, p_near)
    without_t = p - _previous_t_wave(median, seconds)
    without_t_median = usual_beat(without_t, causal)
    without_t_rest = _rms_difference(_centred(without_t), _centred(without_t_median))
    spread = p.std(axis=1)
    return {
        "qrs like median": _correlation(qrs, qrs_median),
        "qrs rest": _log(_rms_difference(qrs, qrs_median) / height),
        "qrs width": np.log(area / peak * height / area_median),
        "qrs height": np.log(peak / height),
        "qrs area": np.log(area / area_median),
        "qrs width, absolute": np.log(area / peak),
        "qrs like neighbours": _correlation(qrs, qrs_near),
        "qrs rest, neighbours": _log(_rms_difference(qrs, qrs_near) / height),
        "p like median": _correlation(p, p_median),
        "p rest, relative": np.log((p_rest + 1e-3) / (usual_beat(p_rest, causal) + 1e-3)),
        "p rest": _log(p_rest / height),
        "p strength": np.log((spread + 1e-3) / (usual_beat(spread, causal) + 1e-3)),
        "p of median": _log(np.ptp(p_median, axis=1) / height),
        "p like neighbours": alike,
        "p alike, mean": rolling_mean(alike, 15, causal),
        "p alike, median": rolling_percentile(alike, 15, 50, causal),
        "p of neighbours": _log(np.ptp(p_near, axis=1) / height),
        "p rest, neighbours": np.log(
            (p_rest_near + 1e-3) / (rolling_percentile(p_rest_near, 15, 50, causal) + 1e-3)
        ),
        "p without t": _correlation(without_t, without_t_median),
        "p without t, rest": np.log(
            (without_t_rest + 1e-3) / (usual_beat(without_t_rest, causal) + 1e-3)
        ),
        "t like median": _correlation(t, median[:, T_WAVE]),
        "t rest": _log(_rms_difference(t, median[:, T_WAVE]) / height),
    }


def _previous_t_wave(median: Rows, seconds: Column) -> Rows:
    """The part of the previous beat's T wave in each P window: (beat, sample of the P window).

    It is taken from the median beat and shifted by the interval between the two beats.
    """
    after_peak = median[:, BEAT_BEFORE:]
    samples = np.arange(after_peak.shape[1])
    start, end = T_FADE
    faded = after_peak * np.clip((end - samples) / (end - start), 0, 1)
    interval = np.rint(np.diff(seconds, prepend=seconds[0] - 2) * BEAT_FS).astype(np.int64)
    position = interval[:, None] + np.arange(P_WAVE.start, P_WAVE.stop) - BEAT_BEFORE
    inside = (position >= 0) & (position < faded.shape[1])
    rows = np.arange(len(median))[:, None]
    return np.where(inside, faded[rows, position.clip(0, faded.shape[1] - 1)], 0.0)


def _of_previous_beat(values: Column) -> Column:
    """The value of the beat before each beat; the first beat has its own."""
    return np.concatenate([values[:1], values[:-1]])


def _of_next_beat(values: Column) -> Column:
    """The value of the beat after each beat; the last beat has its own."""
    return np.concatenate([values[1:], values[-1:]])


def _centred(rows: Rows) -> Rows:
    return np.asarray(rows - rows.mean(axis=1, keepdims=True))


def _rms_difference(rows: Rows, other: Rows) -> Column:
    """Root mean square of the difference, row by row."""
    return np.asarray(np.sqrt(((rows - other) ** 2).mean(axis=1)))


def _correlation(rows: Rows, other: Rows) -> Column:
    """Pearson's correlation, row by row; 0 where a row is flat."""
    a, b = _centred(rows), _centred(other)
    return np.asarray((a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1) + 1e-9))


def _log(ratio: Column) -> Column:
    return np.asarray(np.log(ratio + 0.01))
