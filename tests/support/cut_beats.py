"""Tables of single heartbeats, as data sets of cut beats are published."""

import numpy as np

from fl.ecg.beat_cuts import CUT_FS, cut_beats
from fl.ecg.qrs_detection import find_r_peaks
from support.made_ecg import heartbeats


def cuts(n: int, rate: float = 75.0) -> np.ndarray:
    """The first beats of a made recording, cut as Kachuee et al. 2018 do: (beat, 187) 0 to 1."""
    lead = heartbeats(rate, 60.0, CUT_FS)[0]
    return cut_beats(lead, find_r_peaks(lead))[0][:n]


def table(beats: np.ndarray, label: str = "", separator: str = ",", decimal: str = ".") -> bytes:
    """A line for each beat, with a class behind it if a `label` is given, and no header."""
    ends = [label] if label else []
    lines = [separator.join([*(f"{v:.6f}" for v in beat), *ends]) for beat in beats]
    return "\n".join(lines).replace(".", decimal).encode()
