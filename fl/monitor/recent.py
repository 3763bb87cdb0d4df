"""The last values of something, in a fixed amount of memory."""

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


class Recent:
    """The last `size` numbers; before there are as many, the first one stands for the others.

    That is how `rolling_percentile` continues a recording backwards where it is causal.
    """

    def __init__(self, size: int) -> None:
        """With nothing in it."""
        self.size, self.count = size, 0
        # Each value is written twice, so that the last ones always lie in a row.
        self._twice = np.zeros(2 * size)

    def push(self, value: float) -> None:
        """Add a number; the oldest is forgotten."""
        if not self.count:
            self._twice[:] = value
        place = self.count % self.size
        self._twice[place] = self._twice[place + self.size] = value
        self.count += 1

    def last(self, width: int) -> Values:
        """The last `width` numbers, in order of time: (width,). Not to be changed."""
        end = (self.count - 1) % self.size + 1 + self.size
        return self._twice[end - width : end]

    def mean(self, width: int) -> float:
        """The mean of the last `width` numbers, or of all where there are fewer."""
        return float(self.last(min(width, self.count)).mean())

    def percentiles(self, width: int, *percents: int) -> list[float]:
        """Percentiles of the last `width` numbers, as `percentile_filter` ranks them."""
        ordered = np.sort(self.last(width))
        return [float(ordered[width * percent // 100]) for percent in percents]


class RecentRows:
    """The last `size` rows of samples, and their median; the first row stands for missing ones."""

    def __init__(self, size: int, samples: int) -> None:
        """With nothing in it. `size` is odd."""
        self._rows = np.zeros((samples, size))  # a median does not depend on the order
        self._size, self._count = size, 0

    def push(self, row: Values) -> Values:
        """Add a row (sample,), and return the median row."""
        if not self._count:
            self._rows[:] = row[:, None]
        self._rows[:, self._count % self._size] = row
        self._count += 1
        middle = self._size // 2
        return np.asarray(np.partition(self._rows, middle, axis=1)[:, middle])
