"""A synthetic signal for trying the monitor: heartbeats, a pause, a run of V, a loose electrode.

No patient's: the waves are Gaussians, as in McSharry et al. 2003 (10.1109/TBME.2003.808805), and
noise comes from a fixed seed.
"""

import numpy as np

from fl.ecg.records import Record
from fl.util.random_streams import stream

FS = 250.0  # Hz
NOISE = 0.01  # mV, standard deviation
# What happens: seconds, heartbeats per minute (0: none), ventricular.
COURSE = (
    (20.0, 75.0, False),
    (5.0, 0.0, False),  # asystole, which is a pause first
    (15.0, 75.0, False),
    (3.0, 150.0, True),  # ventricular tachycardia
    (17.0, 75.0, False),
    (12.0, 160.0, False),  # tachycardia
    (18.0, 75.0, False),
)
LOOSE = (82.0, 88.0)  # s: from when to when the electrode is off
# Waves of a beat: seconds from the R peak, standard deviation in s, mV in leads II and V1.
NORMAL = ((-0.16, 0.022, 0.12, 0.05), (0.0, 0.011, 1.1, -0.7), (0.26, 0.045, 0.3, 0.12))
VENTRICULAR = ((0.0, 0.035, 1.4, -1.2), (0.22, 0.05, -0.5, 0.4))


def beat_times() -> list[tuple[float, bool]]:
    """When each heartbeat is (s), and whether it is ventricular."""
    beats, start, next_beat = [], 0.0, 0.4
    for seconds, rate, ventricular in COURSE:
        end = start + seconds
        while rate and next_beat < end:
            beats.append((next_beat, ventricular))
            next_beat += 60 / rate
        next_beat = max(next_beat, end) if rate else end + 0.1
        start = end
    return beats


def demonstration(times: int = 1) -> Record:
    """A minute and a half of leads II and V1, `times` times in a row. Synthetic."""
    seconds = sum(part[0] for part in COURSE)
    t = np.arange(round(seconds * FS)) / FS
    signal = stream(0, "monitor", "demonstration").normal(0, NOISE, (2, len(t)))
    for beat, ventricular in beat_times():
        for after, width, *heights in VENTRICULAR if ventricular else NORMAL:
            wave = np.exp(-(((t - beat - after) / width) ** 2) / 2)
            signal += np.array(heights)[:, None] * wave
    loose = (t >= LOOSE[0]) & (t < LOOSE[1])
    signal[:, loose] = signal[:, loose][:, :1]
    return Record(
        source="synthetic",
        name="demonstration",
        patient="synthetic",
        signal=np.tile(signal, times).astype(np.float32),
        leads=("II", "V1"),
        fs=FS,
        labels=None,
    )
