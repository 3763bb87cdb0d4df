"""A recording of clean beats for tests."""

import numpy as np

from fl.ecg.records import Annotations, Record


def recording(seconds=120.0, early=(), fs=360.0):
    """A recording with one beat a second, annotated normal; those in `early` come 0.3 s early."""
    times = np.arange(1.0, seconds - 1) - 0.3 * np.isin(np.arange(1, seconds - 1), early)
    t = np.arange(round(seconds * fs)) / fs
    signal = np.zeros_like(t)
    for r in times:
        for at, width, height in ((-0.16, 0.03, 0.15), (0, 0.02, 1.0), (0.25, 0.06, 0.3)):
            near = np.abs(t - r - at) < 5 * width
            signal[near] += height * np.exp(-(((t[near] - r - at) / width) ** 2))
    signal += 0.003 * np.random.default_rng(0).normal(size=len(t))
    samples = np.rint(times * fs).astype(np.int64)
    return Record(
        source="made-up",
        name="100",
        patient="100",
        signal=signal[None].astype(np.float32),
        leads=("II",),
        fs=fs,
        labels=None,
        annotations=Annotations(
            samples=samples, symbols=("N",) * len(samples), rhythms=("",) * len(samples)
        ),
    )
