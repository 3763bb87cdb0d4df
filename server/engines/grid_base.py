"""What the simulation's Flower grids have in common, and how replies are collected."""

import itertools
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from flwr.app import Context, Message, RecordDict, UserConfig
from flwr.serverapp import Grid

from fl.util.polling import Backoff
from server.engines.grid_internals import identify_server
from server.engines.numbered_message import NumberedMessage
from server.engines.site_visits import Combine, Combined


class BaseGrid(Grid):
    """A Flower grid that makes messages as Flower's own does."""

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)


WAIT = 0.5  # seconds a pull waits for the next reply
FIRST_NODE = 1001  # the simulation's nodes are this one and those after it


class SimulatedGrid(BaseGrid):
    """Nodes 1001, 1002, ... of a simulation, each acting for one partition."""

    pull_waits = True  # `pull_messages` waits for a reply by itself: no need to sleep between calls

    combines = False  # whether a worker may send one answer for several sites: `combine_with`

    def __init__(self, n_nodes: int) -> None:
        identify_server()
        self.combined: list[Combined] = []  # answers for several sites that have come
        self._run: Any = None
        self._numbers = itertools.count(1)
        self.contexts = {
            FIRST_NODE + i: Context(
                run_id=1,
                node_id=FIRST_NODE + i,
                node_config=UserConfig({"partition-id": i, "num-partitions": n_nodes}),
                state=RecordDict(),
                run_config=UserConfig(),
            )
            for i in range(n_nodes)
        }

    def set_run(self, run: Any) -> None:
        self._run = run

    @property
    def run(self) -> Any:
        """What `set_run` was given. Our own engines describe no run to Flower: None."""
        return self._run

    def get_node_ids(self) -> Iterable[int]:
        return list(self.contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        numbers = []
        for message in messages:
            number = str(next(self._numbers))
            self.submit(NumberedMessage(message, number))
            numbers.append(number)
        return numbers

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        waiting = set(self.push_messages(messages))
        end = time.monotonic() + (float("inf") if timeout is None else timeout)
        replies: list[Message] = []
        while waiting and time.monotonic() < end:
            for reply in self.pull_messages(waiting):
                waiting.discard(reply.metadata.reply_to_message_id)
                replies.append(reply)
        self.abandon(waiting)
        return replies

    def combine_with(self, combine: Combine | None) -> None:
        """Let workers combine replies to what is sent from now on; others answer each by itself."""

    @abstractmethod
    def submit(self, message: Message) -> None:
        """Queue one message for its node."""

    @abstractmethod
    def abandon(self, message_ids: Iterable[str]) -> None:
        """Forget messages whose replies are no longer wanted."""


@dataclass(frozen=True, kw_only=True)
class Combining:
    """How several sites' replies become one answer: `combine` at the worker, `read` here.

    `read` is given the requests and the answer that stands for the replies to them.
    """

    combine: Combine
    read: Callable[[Sequence[Message], Any], None]


def collect(
    grid: Grid,
    messages: Iterable[Message],
    timeout: float,
    on_reply: Callable[[Message], None],
    combining: Combining | None = None,
) -> list[Message]:
    """Send requests and return the replies that come in time; `on_reply` gets each as it comes.

    With `combining`, a grid that combines replies may return fewer.
    """
    requests = list(messages)
    for request in requests:
        request.metadata.ttl = timeout  # a site that comes back later need not answer any more
    if not (isinstance(grid, SimulatedGrid) and grid.combines):
        combining = None
    if combining is None:
        return _collected(grid, requests, timeout, on_reply)
    combiner = cast(SimulatedGrid, grid)
    combiner.combine_with(combining.combine)
    try:
        return _collected(grid, requests, timeout, on_reply, combining)
    finally:
        combiner.combine_with(None)


def _collected(
    grid: Grid,
    requests: Sequence[Message],
    timeout: float,
    on_reply: Callable[[Message], None],
    combining: Combining | None = None,
) -> list[Message]:
    # A grid gives no number for a request that it could not send: no reply will come.
    numbers = grid.push_messages(requests)
    waiting = {n: request for n, request in zip(numbers, requests, strict=True) if n}
    end = time.monotonic() + timeout
    replies = []
    backoff = None if getattr(grid, "pull_waits", False) else Backoff()
    while waiting and time.monotonic() < end:
        for reply in grid.pull_messages(list(waiting)):
            number = reply.metadata.reply_to_message_id
            if number not in waiting:
                continue
            replies.append(_from_the_node_asked(reply, waiting.pop(number)))
            on_reply(replies[-1])
        if combining is not None:
            _read_combined(cast(SimulatedGrid, grid), waiting, combining)
        if waiting and backoff is not None:
            time.sleep(backoff.delay())
    if waiting and isinstance(grid, SimulatedGrid):
        grid.abandon(waiting)
    return replies


def _read_combined(grid: SimulatedGrid, waiting: dict[str, Message], combining: Combining) -> None:
    """Read the answers for several sites that have come; nobody waits for those sites any more."""
    for combined in grid.combined:
        combining.read([waiting.pop(number) for number in combined.numbers], combined.answer)
    grid.combined.clear()


def _from_the_node_asked(reply: Message, request: Message) -> Message:
    """The reply, with the number of the node that was asked as its sender.

    A SuperLink replies for a node that is away, and gives its own number.
    """
    if reply.metadata.src_node_id == request.metadata.dst_node_id:
        return reply
    if reply.has_error():
        return Message(reply.error, reply_to=request)
    return Message(reply.content, reply_to=request)
