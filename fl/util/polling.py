"""How often to look for something that is awaited: often at first, then less and less."""

import time
from dataclasses import dataclass, field

SHARE = 0.05  # of the time waited so far


@dataclass
class Backoff:
    """Pauses of a twentieth of the time waited so far: little delay, and few looks in vain."""

    first: float = 0.05  # seconds
    most: float = 1.0
    began: float = field(default_factory=time.monotonic)

    def delay(self) -> float:
        """Seconds until the next look."""
        return min(self.most, max(self.first, SHARE * (time.monotonic() - self.began)))

    def reset(self) -> None:
        """Begin again with short pauses, since something came."""
        self.began = time.monotonic()
