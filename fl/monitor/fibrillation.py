"""Atrial fibrillation from the irregularity of the RR intervals, beat by beat.

Source: Petrenas, Marozas & Sornmo 2015, 10.1016/j.compbiomed.2015.01.019: in eight intervals the
share of pairs that differ by more than 30 ms, over the trend of the interval, unless the intervals
repeat in pairs as in bigeminy. Ours: the averages look back alone, intervals beside a ventricular
beat are left out where beats have classes, and SMOOTHING, BEGINS and ENDS were chosen on the
annotated beats of MIT-BIH's DS1, in which two patients fibrillate (docs/monitor.md).
"""

from collections import deque

import numpy as np

INTERVALS = 8
SMOOTHING = 0.05  # of the exponential averages; 0.02 was published
DIFFERENT = 0.03  # s
BIGEMINY = 2e-4  # below it the measure of bigeminy takes the place of irregularity
BEGINS, ENDS = 1.0, 0.8  # of the irregularity; 0.725 was published for both
LONGEST = 3.0  # s; a longer interval is a pause or missing beats, and is left out


class Fibrillation:
    """RR intervals in, one by one; whether the rhythm is fibrillation comes out."""

    def __init__(self) -> None:
        """Not in fibrillation."""
        self._intervals: deque[float] = deque(maxlen=INTERVALS + 2)
        self._trend, self._irregular, self._bigeminy = 0.0, 0.0, 0.0
        self.present = False
        self.irregularity = 0.0

    def push(self, interval: float) -> bool:
        """Whether fibrillation is present after this interval (s)."""
        if interval > LONGEST:
            return self.present
        self._intervals.append(interval)
        self._trend = self._averaged(self._trend or interval, interval)
        if len(self._intervals) < INTERVALS + 2:
            return False
        raw = np.array(self._intervals)
        medians = np.median(np.stack([raw[:-2], raw[1:-1], raw[2:]]), axis=0)  # of three in a row
        pairs = np.abs(medians[:, None] - medians)[np.triu_indices(INTERVALS, 1)]
        share = float((pairs > DIFFERENT).mean())
        self._irregular = self._averaged(self._irregular, share)
        ratio = float(medians.sum() / raw[1:-1].sum()) - 1
        self._bigeminy = self._averaged(self._bigeminy, ratio**2)
        found = self._irregular / self._trend
        self.irregularity = self._bigeminy if self._bigeminy < BIGEMINY else found
        self.present = self.irregularity > (ENDS if self.present else BEGINS)
        return self.present

    @staticmethod
    def _averaged(before: float, value: float) -> float:
        return before + SMOOTHING * (value - before)
