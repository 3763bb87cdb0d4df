"""Puts an explanation where its samples are in the recording."""

from dataclasses import replace

import numpy as np

from fl.ecg.beat_cuts import CUT_FS, CUT_SAMPLES, PlainBeatMaker, whole_cut_peaks
from fl.ecg.beat_pictures import lead_of
from fl.ecg.beat_segments import BEAT_BEFORE, BEAT_FS
from fl.ecg.records import Record
from fl.ecg.tasks import Task
from fl.explain.saliency import Explanation


def placed(
    found: Explanation, task: Task, record: Record, begin: float, end: float, peak: float | None
) -> Explanation:
    """The explanation with the time of its first sample, and with times and leads as recorded.

    `begin` and `end` (s of the recording) are those of the example, and `peak` that of its R peak
    if it is a heartbeat. A whole beat was resampled to a fixed length. Where the network read one
    cut of lead II after the other, their contributions are added where the cuts were made.
    """
    if not found.signal.size:
        return replace(found, begins=begin)
    if task.whole_beats:
        fs = (found.signal.shape[1] - 1) / (end - begin)
        return replace(found, begins=begin, fs=fs, leads=(lead_of(record),))
    if task.stride > 1:
        return _cuts_in_place(found, record, begin, end)
    if peak is None:
        return replace(found, begins=begin)
    before = 0.0 if isinstance(task.make_examples, PlainBeatMaker) else BEAT_BEFORE / BEAT_FS
    return replace(found, begins=peak - before)


def _cuts_in_place(found: Explanation, record: Record, begin: float, end: float) -> Explanation:
    """Contributions of cuts one after the other, (1, cut * sample), as (1, sample) from `begin`."""
    peaks = whole_cut_peaks(record)
    first = round(begin * CUT_FS)
    inside = peaks[(peaks >= begin * CUT_FS) & (peaks < end * CUT_FS)] - first
    # A cut may reach beyond the end of its part of the recording.
    signal = np.zeros((1, round(end * CUT_FS) - first + CUT_SAMPLES))
    for number, peak in enumerate(inside.tolist()):
        cut = found.signal[:, number * CUT_SAMPLES : (number + 1) * CUT_SAMPLES]
        signal[:, peak : peak + CUT_SAMPLES] += cut
    return replace(found, begins=begin, signal=signal)
