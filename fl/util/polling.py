"""How often to look for something that will come: often at first, then ever less."""

import time
from dataclasses import dataclass, field

SHARE = 0.05  # of the time waited so far


@dataclass
class Backoff:
    """Pauses of a twentieth of the time waited so far, so that waiting costs little either way."""

    first: float = 0.05  # seconds
    most: float = 1.0
    began: float = field(default_factory=time.monotonic)

    def delay(self) -> float:
        """Seconds until the next look."""
        return min(self.most, max(self.first, SHARE * (time.monotonic() - self.began)))

    def reset(self) -> None:
        """Something came: look often again."""
        self.began = time.monotonic()
