"""How many requests go to a worker in one call, by how long earlier ones took."""

import math
from collections.abc import Iterable

from flwr.app import Message

CALL = 0.6  # seconds of a call: what a call costs beside its requests is then no longer noticed
SHORT = 0.1  # seconds of a call that is not made shorter, even where others could share it
# Calls into which each worker's share of what is left is divided. With more, workers wait more
# often for their next call than a fairer end spares them.
CALLS_LEFT = 2
# A call that takes so many times as long as expected, and so many seconds, holds a site that hangs.
OVERDUE, FEWEST_SECONDS = 20.0, 20.0
OF_TIMEOUT = 0.25  # and no longer than this share of the time there is


class VisitTimes:
    """Seconds of each node's last request of a kind, as measured where it was made."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, int], float] = {}
        self._last: dict[str, float] = {}  # of the last request of a kind, whoever made it

    def note(self, kind: str, node: int, seconds: float) -> None:
        """A request of this kind took so long."""
        self._seconds[kind, node] = self._last[kind] = seconds

    def expected(self, message: Message) -> float:
        """Seconds that a request will take; as long as a call where nothing is known of its kind.

        Requests come with the longest first, so that the last one of another node is no less.
        """
        kind, node = message.metadata.message_type, message.metadata.dst_node_id
        return self._seconds.get((kind, node), self._last.get(kind, CALL))

    def in_one_call(self, waiting: Iterable[Message], n_waiting: int, n_workers: int) -> int:
        """How many of the requests that wait, from the first on, the next call should make.

        Never so many that a worker is left without any.
        """
        most = math.ceil(n_waiting / n_workers)
        share = math.ceil(n_waiting / (CALLS_LEFT * n_workers))
        total, count = 0.0, 0
        for message in waiting:
            total += self.expected(message)
            if count and (total > CALL or count == most or (count >= share and total > SHORT)):
                break
            count += 1
        return count

    def overdue_after(self, messages: Iterable[Message]) -> float:
        """Seconds after which a call with these requests is no longer waited for."""
        several = list(messages)
        if len(several) == 1:
            return math.inf  # a site may take the whole time that the sites of a round have
        expected = sum(map(self.expected, several))
        left = min((message.metadata.ttl for message in several), default=math.inf)
        return min(max(OVERDUE * expected, FEWEST_SECONDS), OF_TIMEOUT * left)
