"""Flower grids of our own: the same apps in this process, or on Ray workers.

Flower's simulation engine passes messages through a store that several threads poll, puts a
dead worker back to work, and needs a second to notice an idle queue. These two grids hand a
message to a client and wait for its reply, and nothing else.
"""

import itertools
import logging
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from flwr.app import Context, Error, Message, RecordDict
from flwr.app.user_config import UserConfig
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from fl.pace import Pace

SERVER_NODE = 1  # Flower's own number for the SuperLink
WAIT = 0.5  # seconds a pull waits for the next reply


class SimulatedGrid(Grid):
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

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

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


class LocalGrid(SimulatedGrid):
    """Every client in this process, one after the other: a debugger can step through."""

    def __init__(self, client_app: ClientApp, n_nodes: int) -> None:
        super().__init__(n_nodes)
        self._app = client_app
        self._queue: deque[Message] = deque()

    def submit(self, message: Message) -> None:
        self._queue.append(message)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        if not self._queue:
            return []
        message = self._queue.popleft()
        try:
            return [self._app(message, self.contexts[message.metadata.dst_node_id])]
        except Exception as error:
            logging.getLogger("heartfed").debug("a client raised", exc_info=error)
            return [error_reply(message, error)]

    def abandon(self, message_ids: Iterable[str]) -> None:
        given_up = set(message_ids)
        self._queue = deque(m for m in self._queue if m.metadata.message_id not in given_up)


class Worker:
    """A process that runs clients; Ray's side of `RayGrid`."""

    def __init__(self, client_app: ClientApp) -> None:
        self._app = client_app

    def handle(self, message: Message, context: Context) -> tuple[Message, Context]:
        """The client's reply and its context, which may hold what it wants to remember."""
        return self._app(message, context), context


class RayGrid(SimulatedGrid):
    """Clients on Ray actors, each of one core; messages wait in order for a free one.

    An actor that dies or hangs is replaced, and its message is answered with an error.
    """

    def __init__(self, client_app: ClientApp, n_nodes: int, workers: int, n_gpus: float) -> None:
        import ray  # here: a deployed run has no use for it

        super().__init__(n_nodes)
        self._ray = ray
        self._app = ray.put(client_app)
        self._actor = ray.remote(num_cpus=1, num_gpus=n_gpus, max_restarts=0)(Worker)
        self._idle = [self._new_actor() for _ in range(workers)]
        self._queue: deque[Message] = deque()
        self._running: dict[Any, tuple[Any, Message]] = {}  # future -> (actor, message)

    def _new_actor(self) -> Any:
        return self._actor.remote(self._app)

    def submit(self, message: Message) -> None:
        self._queue.append(message)
        self._dispatch()

    def _dispatch(self) -> None:
        while self._queue and self._idle:
            message, actor = self._queue.popleft(), self._idle.pop()
            context = self.contexts[message.metadata.dst_node_id]
            self._running[actor.handle.remote(message, context)] = (actor, message)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        if not self._running:
            return []
        done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=WAIT)
        return [self._finish(future) for future in done]

    def _finish(self, future: Any) -> Message:
        actor, message = self._running.pop(future)
        reply: Message
        try:
            reply, context = self._ray.get(future)
            self.contexts[message.metadata.dst_node_id] = context
        except self._ray.exceptions.RayTaskError as error:
            reply = error_reply(message, error.cause)
        except self._ray.exceptions.RayActorError as error:
            logging.getLogger("heartfed").debug("a worker died", exc_info=error)
            reply = error_reply(message, RuntimeError("its worker process died"))
            actor = self._new_actor()
        self._idle.append(actor)
        self._dispatch()
        return reply

    def abandon(self, message_ids: Iterable[str]) -> None:
        given_up = set(message_ids)
        self._queue = deque(m for m in self._queue if m.metadata.message_id not in given_up)
        for future, (actor, message) in list(self._running.items()):
            if message.metadata.message_id in given_up:
                # The client may hang for ever, and only its process can be ended.
                del self._running[future]
                self._ray.kill(actor)
                self._idle.append(self._new_actor())
        self._dispatch()

    def close(self) -> None:
        """End the workers."""
        for actor in [*self._idle, *(actor for actor, _ in self._running.values())]:
            self._ray.kill(actor)


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
    pace = None if getattr(grid, "pull_waits", False) else Pace()
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
            time.sleep(pace.pause())
    if waiting and isinstance(grid, SimulatedGrid):
        grid.abandon(waiting)
    return replies
