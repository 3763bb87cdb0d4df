"""Rhythm examples: a whole recording, or the 10 s windows of one with annotated moments."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fl.ecg.beat_segments import PACED_BEATS
from fl.ecg.filters import Signal, bandpass, resample, zscore
from fl.ecg.labels import AAMI, label_vector
from fl.ecg.records import LEADS, Annotations, Examples, Record
from fl.ecg.wavelet import wavelet_denoised
from fl.util.errors import UnusableRecord

MIN_SECONDS = 5.0  # the shortest recording in CPSC2018 has 6 s
WINDOW_SECONDS = 10.0
RHYTHM_FS = 100.0  # Hz

# What the annotations of a Holter recording cover: rhythm and beats, never conduction or ST level.
ANNOTATED_BY_BEATS = ("NSR", "AF", "LBBB", "RBBB", "PAC", "PVC")
EXCLUDED_RHYTHMS = frozenset({"(AFL", "(VFL"})
EXCLUDED_SYMBOLS = frozenset("~![]") | PACED_BEATS


def rhythm_examples(record: Record, wavelet: bool = False) -> Examples:
    """The whole recording if it has labels of its own, else its labelled 10 s windows.

    With `wavelet` noise and baseline are removed by wavelets instead of the band-pass.
    Raises UnusableRecord if the recording is too short or none of it has a label.
    """
    signal, leads = filter_recording(record, wavelet), lead_indices(record)
    names, signals, labels = [], [], []
    if record.labels is not None:
        if not (record.labels >= 0).any():
            raise UnusableRecord(record.name, "no-label", "it leaves every class open")
        names, signals, labels = [record.name], [zscore(signal)], [record.labels]
    elif record.annotations is not None:
        seconds = record.signal.shape[1] / record.fs
        for start, vector in labelled_windows(record.annotations, record.fs, seconds):
            names.append(f"{record.name}/{start:04.0f}s")
            signals.append(normalised_window(signal, start))
            labels.append(vector)
    if not names:
        raise UnusableRecord(
            record.name, "no-label", "no 10 s window with a rhythm of the nine classes"
        )
    return Examples(
        names=names,
        signals=signals,
        leads=leads,
        labels=np.stack(labels),
        features=np.zeros((len(names), 0), dtype=np.float32),
    )


def filter_recording(record: Record, wavelet: bool = False) -> NDArray[np.float32]:
    """A recording at 100 Hz without baseline wander and high-frequency noise: (lead, sample) mV.

    Raises UnusableRecord if it is shorter than 5 s.
    """
    require_length(record)
    return filter_signals(record.signal, record.fs, wavelet)


def require_length(record: Record) -> None:
    """`UnusableRecord` if a recording is shorter than MIN_SECONDS."""
    seconds = record.signal.shape[1] / record.fs
    if seconds < MIN_SECONDS:
        raise UnusableRecord(
            record.name, "too-short", f"{seconds:.1f} s; at least {MIN_SECONDS:.0f} s"
        )


def filter_signals(signals: Signal, fs: float, wavelet: bool = False) -> Signal:
    """`filter_recording` of one signal or of several: (..., lead, sample) -> the same at 100 Hz."""
    resampled = resample(signals, fs, RHYTHM_FS)
    return wavelet_denoised(resampled, RHYTHM_FS) if wavelet else bandpass(resampled, RHYTHM_FS)


def lead_indices(record: Record) -> tuple[int, ...]:
    """The position of each recorded lead among the twelve of the task: (recorded lead,)."""
    return tuple(LEADS.index(lead) for lead in record.leads)


def normalised_window(signal: NDArray[np.float32], start: float) -> NDArray[np.float32]:
    """Ten seconds of a filtered recording from `start` (s) on, each lead z-scored within them."""
    begin = round(start * RHYTHM_FS)
    return zscore(signal[:, begin : begin + round(WINDOW_SECONDS * RHYTHM_FS)])


def labelled_windows(
    notes: Annotations, fs: float, seconds: float
) -> Iterator[tuple[float, NDArray[np.int8]]]:
    """Start (s) and labels (class,) of every usable 10 s window of an annotated recording.

    NSR: normal rhythm throughout and every beat N. AF: at least half the window. LBBB, RBBB:
    at least half the beats. PAC, PVC: any such beat. Windows with flutter, paced beats or
    noise marks are left out, and so are windows without a beat or before the first rhythm mark.
    """
    times = notes.samples / fs
    symbols = np.array(notes.symbols)
    marks = [
        (t, r) for t, r in zip(times.tolist(), notes.rhythms, strict=True) if r.startswith("(")
    ]
    for start in np.arange(0, seconds - WINDOW_SECONDS + 1e-9, WINDOW_SECONDS).tolist():
        end = start + WINDOW_SECONDS
        symbols_inside = symbols[(times >= start) & (times < end)]
        share = _rhythm_share(marks, start, end)
        beats = [s for s in symbols_inside if s in AAMI]
        if not beats or sum(share.values()) < 0.999 or EXCLUDED_RHYTHMS & share.keys():
            continue
        if EXCLUDED_SYMBOLS & set(symbols_inside.tolist()):
            continue
        half = len(beats) / 2
        names = [
            name
            for name, present in (
                ("NSR", share.get("(N", 0) > 0.999 and set(beats) == {"N"}),
                ("AF", share.get("(AFIB", 0) >= 0.5),
                ("LBBB", beats.count("L") >= half),
                ("RBBB", beats.count("R") >= half),
                ("PAC", "A" in beats or "a" in beats),
                ("PVC", "V" in beats),
            )
            if present
        ]
        yield start, label_vector(names, ANNOTATED_BY_BEATS)


def annotated_in_one_window(record: Record, begin: float) -> Record:
    """The recording with the beats of the window from `begin` (s) on alone, and every rhythm mark.

    Of the examples that are made of the recording only this window is left, and it is the same.
    """
    notes = record.annotations
    assert notes is not None
    times = notes.samples / record.fs
    inside = (times >= begin) & (times < begin + WINDOW_SECONDS)
    marks = np.array([rhythm.startswith("(") for rhythm in notes.rhythms], dtype=bool)
    kept = np.flatnonzero(inside | marks)
    return replace(
        record,
        annotations=Annotations(
            samples=notes.samples[kept],
            symbols=tuple(notes.symbols[i] for i in kept),
            rhythms=tuple(notes.rhythms[i] for i in kept),
        ),
    )


def _rhythm_share(marks: list[tuple[float, str]], start: float, end: float) -> dict[str, float]:
    """Share of the window in each rhythm."""
    share: dict[str, float] = {}
    for i, (begins, rhythm) in enumerate(marks):
        ends = marks[i + 1][0] if i + 1 < len(marks) else np.inf
        overlap = min(end, ends) - max(start, begins)
        if overlap > 0:
            share[rhythm] = share.get(rhythm, 0.0) + overlap / (end - start)
    return share
