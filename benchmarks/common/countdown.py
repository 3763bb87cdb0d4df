"""How long a study will still take, printed after each of its parts."""

import time
from collections.abc import Callable

from fl.reports.number_format import time_left_text


class Countdown:
    """Counts the parts of a study that are made, and estimates the time of those that are left.

    The estimate is the mean time of the parts so far, with all that was done between them.
    """

    def __init__(self, parts: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.parts, self.made = parts, 0
        self._clock, self._began = clock, clock()

    def done(self, text: str) -> None:
        """A part is made: print `text`, how many are made, and the time of those that are left."""
        self.made += 1
        left = max(self.parts - self.made, 0)
        mean = (self._clock() - self._began) / self.made
        time_left = f", {time_left_text(mean * left)}" if left else ""
        print(f"{text} ({self.made} of {self.made + left}{time_left})", flush=True)
