"""What the simulation's Flower grids have in common, and how replies are collected."""

import itertools
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable

from flwr.app import Context, Error, Message, RecordDict
from flwr.app.user_config import UserConfig
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from fl.util.polling import Backoff


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


SERVER_NODE = 1  # Flower's own number for the SuperLink
WAIT = 0.5  # seconds a pull waits for the next reply


class SimulatedGrid(BaseGrid):
    """Nodes 1001, 1002, ... of a simulation, each acting for one partition."""

    pull_waits = True  # `pull_messages` returns when a reply is there: no need to sleep between

    def __init__(self, n_nodes: int) -> None:
        self._run = Run.create_empty(run_id=1)
        TaskIdentity.run_id, TaskIdentity.task_id = 1, 1
        TaskIdentity.node_id = SERVER_NODE
        self._numbers = itertools.count(1)
        self.contexts = {
            1001 + i: Context(
                run_id=1,
                node_id=1001 + i,
                node_config=UserConfig({"partition-id": i, "num-partitions": n_nodes}),
                state=RecordDict(),
                run_config=UserConfig(),
            )
            for i in range(n_nodes)
        }

    def set_run(self, run: Run) -> None:
        self._run = run

    @property
    def run(self) -> Run:
        return self._run

    def get_node_ids(self) -> Iterable[int]:
        return list(self.contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        ids = []
        for message in messages:
            number = str(next(self._numbers))
            message.metadata.__dict__["_message_id"] = number
            self.submit(message)
            ids.append(number)
        return ids

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

    @abstractmethod
    def submit(self, message: Message) -> None:
        """Queue one message for its node."""

    @abstractmethod
    def abandon(self, message_ids: Iterable[str]) -> None:
        """Forget messages whose replies nobody waits for any more."""


def error_reply(message: Message, error: BaseException) -> Message:
    """What the server receives when a client fails: the kind of error and its words."""
    reason = f"{type(error).__name__}: {error}"
    return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message)


def collect(
    grid: Grid,
    messages: Iterable[Message],
    timeout: float,
    on_reply: Callable[[Message], None],
) -> list[Message]:
    """Send messages and return the replies that come in time, telling of each as it comes."""
    asked = list(messages)
    for message in asked:
        message.metadata.ttl = timeout  # a site that comes back later need not answer any more
    # A grid that could not push a message gives no id for it: nobody will answer that one.
    ids = grid.push_messages(asked)
    node_of = {i: m.metadata.dst_node_id for i, m in zip(ids, asked, strict=True) if i}
    waiting = set(node_of)
    end = time.monotonic() + timeout
    replies = []
    pace = None if getattr(grid, "pull_waits", False) else Backoff()
    while waiting and time.monotonic() < end:
        for reply in grid.pull_messages(waiting):
            number = reply.metadata.reply_to_message_id
            if number not in waiting:
                continue
            waiting.discard(number)
            # What a SuperLink says in the place of a node that is away bears its own number.
            reply.metadata.__dict__["_src_node_id"] = node_of[number]
            replies.append(reply)
            on_reply(reply)
        if waiting and pace is not None:
            time.sleep(pace.delay())
    if waiting and isinstance(grid, SimulatedGrid):
        grid.abandon(waiting)
    return replies
