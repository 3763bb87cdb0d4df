"""Flower grids of our own: the same apps in this process, or on Ray workers.

Flower's simulation engine passes messages through a store that several threads poll, puts a
dead worker back to work, and needs a second to notice an idle queue. These two grids hand a
message to a client and wait for its reply, and nothing else.
"""

import copy
import itertools
import logging
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from flwr.app import ArrayRecord, Context, Error, Message, RecordDict
from flwr.app.user_config import UserConfig
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from fl.pace import Pace
from fl.wire import Held
from server.base import BaseGrid
from server.workers import start_worker

SERVER_NODE = 1  # Flower's own number for the SuperLink
WAIT = 0.5  # seconds a pull waits for the next reply
AHEAD = 4  # visits left per worker from which on a worker is given the next one before it is free


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


@dataclass
class Seat:
    """A worker process and the visits it was given: it makes the first, the others wait there."""

    actor: Any
    visits: deque[tuple[Any, Message]] = field(default_factory=deque)  # future, message


class RayGrid(SimulatedGrid):
    """Clients on Ray actors, each of one core; messages wait in order for a free one.

    An actor that dies or hangs is replaced, and its message is answered with an error.
    """

    def __init__(
        self,
        client_app: ClientApp,
        n_nodes: int,
        workers: int,
        n_gpus: float,
        started: Sequence[Any] = (),
    ) -> None:
        """`started`: workers that are there already (`start_worker`)."""
        import ray  # here: a deployed run has no use for it

        super().__init__(n_nodes)
        self._ray, self._n_gpus = ray, n_gpus
        self._app = ray.put(client_app)
        self._seats = [self._seat(actor) for actor in started]
        self._seats += [self._new_seat() for _ in range(workers - len(started))]
        self._queue: deque[Message] = deque()
        self._alone: set[str] = set()  # visits behind which, and before which, none may wait
        self._stored: tuple[list[ArrayRecord], Any] = ([], ray.put([]))  # last sent, and where

    def _new_seat(self) -> Seat:
        return self._seat(start_worker(self._n_gpus))

    def _seat(self, actor: Any) -> Seat:
        actor.serve.remote(self._app)
        return Seat(actor)

    def submit(self, message: Message) -> None:
        self._queue.append(message)
        self._dispatch()

    def _dispatch(self) -> None:
        while self._queue:
            # With many visits to make a worker has the next one there when it ends one. Near the
            # end none is given away before a worker is free: the other might be free sooner.
            plenty = len(self._queue) > AHEAD * len(self._seats)
            seat = min(self._seats, key=lambda seat: len(seat.visits))
            if seat.visits and not (plenty and self._may_wait(seat)):
                return
            message = self._queue.popleft()
            context = self.contexts[message.metadata.dst_node_id]
            rest, arrays = self._apart(message)
            seat.visits.append((seat.actor.handle.remote(rest, context, arrays), message))

    def _may_wait(self, seat: Seat) -> bool:
        """Whether the next visit may wait at a worker that makes one."""
        numbers = {message.metadata.message_id for _, message in seat.visits}
        return len(numbers) == 1 and not self._alone & {
            *numbers,
            self._queue[0].metadata.message_id,
        }

    def _apart(self, message: Message) -> tuple[Message, Any]:
        """The message without its arrays, and where Ray holds these: once for a whole round."""
        names = list(message.content.array_records)
        records = [message.content.array_records[name] for name in names]
        known, place = self._stored
        if [*map(id, known)] != [*map(id, records)]:
            place = self._ray.put(records)
            self._stored = records, place
        rest = copy.copy(message)
        rest.content = RecordDict(
            {k: ArrayRecord() if k in names else v for k, v in message.content.items()}
        )
        return rest, place

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        # A worker makes its visits in the order in which it was given them.
        first = {seat.visits[0][0]: seat for seat in self._seats if seat.visits}
        if not first:
            return []
        done, _ = self._ray.wait(list(first), num_returns=1, timeout=WAIT)
        return [reply for future in done for reply in self._finish(first[future])]

    def _finish(self, seat: Seat) -> list[Message]:
        """The reply to a worker's first visit; none if that has to be made again."""
        future, message = seat.visits.popleft()
        reply: Message
        try:
            reply, context = self._ray.get(future)
            self.contexts[message.metadata.dst_node_id] = context
            _take_out(reply)
        except self._ray.exceptions.RayTaskError as error:
            reply = error_reply(message, error.cause)
        except self._ray.exceptions.RayActorError as error:
            logging.getLogger("heartfed").debug("a worker died", exc_info=error)
            if seat.visits:
                # In which of the two, nobody knows: each is made again, with none behind it.
                seat.visits.appendleft((future, message))
                self._alone |= {message.metadata.message_id for _, message in seat.visits}
                self._replace(seat)
                self._dispatch()
                return []
            reply = error_reply(message, RuntimeError("its worker process died"))
            self._replace(seat)
        self._dispatch()
        return [reply]

    def _replace(self, seat: Seat) -> None:
        """A new worker in the place of one that is of no use; what waited there waits again."""
        self._queue.extendleft(message for _, message in reversed(seat.visits))
        self._seats[self._seats.index(seat)] = self._new_seat()

    def abandon(self, message_ids: Iterable[str]) -> None:
        given_up = set(message_ids)
        for seat in list(self._seats):
            waiting = [visit for visit in seat.visits if visit[1].metadata.message_id in given_up]
            if waiting:
                # The client may hang for ever, and only its process can be ended.
                self._ray.kill(seat.actor)
                self._replace(seat)
        self._queue = deque(m for m in self._queue if m.metadata.message_id not in given_up)
        self._dispatch()

    def close(self) -> None:
        """End the workers."""
        for seat in self._seats:
            self._ray.kill(seat.actor)


def _take_out(reply: Message) -> None:
    """Copy a reply's arrays out of Ray's store, which is too small for those of a whole round."""
    for record in reply.content.array_records.values() if reply.has_content() else ():
        for name, array in record.items():
            if isinstance(array, Held):
                array.take_out()
            else:
                record[name] = Held(array.numpy())


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
