"""Answers in memory for a while, so that pages, downloads and explanations need no second upload.

Nothing is on disk. An answer is found by a random number of 128 bits that only its page has.
"""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from heartfed.web.upload.answering import AnsweredUpload

MOST = 64  # answers
MOST_BYTES = 2**30
SECONDS = 1800.0  # since it was last looked at
GONE = (
    "This answer is no longer kept. Nothing of an upload is written to a disk, and the memory is "
    "used for later ones. Upload the recording again."
)


class KeptAnswers:
    """The latest answers; the one that nobody has looked at for longest goes first."""

    def __init__(
        self,
        most: int = MOST,
        most_bytes: int = MOST_BYTES,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.most, self.most_bytes, self.seconds, self.clock = most, most_bytes, seconds, clock
        self._answers: OrderedDict[str, tuple[float, AnsweredUpload]] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, answer: AnsweredUpload) -> str:
        """The key under which the answer is found."""
        key = secrets.token_urlsafe(16)
        with self._lock:
            self._answers[key] = self.clock(), answer
            self._forget(but=key)
        return key

    def find(self, key: str) -> AnsweredUpload | None:
        """The answer, or None if it is not kept any more."""
        with self._lock:
            self._forget()
            found = self._answers.get(key)
            if found is None:
                return None
            self._answers[key] = self.clock(), found[1]
            self._answers.move_to_end(key)
            return found[1]

    def drop(self, key: str) -> None:
        """Forget an answer at once."""
        with self._lock:
            self._answers.pop(key, None)

    def _forget(self, but: str = "") -> None:
        size = sum(answer.size for _, answer in self._answers.values())
        for key, (since, answer) in list(self._answers.items()):
            old = self.clock() - since > self.seconds
            if key != but and (old or len(self._answers) > self.most or size > self.most_bytes):
                del self._answers[key]
                size -= answer.size
