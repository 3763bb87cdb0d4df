"""Clients on Ray workers: requests are handed out, and workers that fail are replaced."""

import copy
import logging
import pickle
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from flwr.app import ArrayRecord, Context, Message, RecordDict

from fl.messages.flower_arrays import copy_arrays
from fl.messages.flower_records import arrays_in
from fl.util.errors import ConfigError, FederationError
from server.engines.grid_base import WAIT, SimulatedGrid
from server.engines.site_visits import Combine, Visits, error_reply
from server.engines.visit_times import VisitTimes

QUEUE_AHEAD = 4  # with more requests than this left per worker, a busy worker gets its next one

# The start of a worker after its process: it yields a Ray future and is sent what that holds.
WorkerStart = Generator[Any, Any, None]


class Workers(Protocol):
    """Where a grid's workers run, and how the files of a site get there."""

    def create(self) -> Any:
        """A new worker, as a Ray actor of one core; returns before its process is up."""

    def start(self, actor: Any) -> WorkerStart:
        """What the worker does before its first request. `ConfigError` if it is of no use."""

    def send(
        self,
        actor: Any,
        messages: Sequence[Message],
        contexts: Sequence[Context],
        arrays: Any,
        combine: Sequence[Any],
    ) -> Any:
        """Have the worker make several requests in one call; the future of its answer.

        The messages come without their arrays, which Ray holds at `arrays`; all have the same.
        `combine`: where Ray holds the function that combines the replies, or nothing.
        """

    def read(self, answer: Any) -> Visits:
        """What the clients replied, from what `send`'s future holds."""

    def clean_up(self, actors: Sequence[Any]) -> None:
        """Let these workers, which have nothing to do, remove what they wrote."""


@dataclass
class Call:
    """Requests that a worker makes one after the other, and one answer to all."""

    future: Any
    messages: list[Message]


@dataclass
class WorkerSlot:
    """A worker and the calls it was given: it makes the first, the others wait there."""

    actor: Any
    start: WorkerStart
    starting: Any = None  # the future that its start waits for; None: it takes requests
    calls: deque[Call] = field(default_factory=deque)
    began: float = 0.0  # when it could begin its first call

    @property
    def idle(self) -> bool:
        """Whether it waits for a request."""
        return self.starting is None and not self.calls

    @property
    def messages(self) -> list[Message]:
        """The requests it has, in their order."""
        return [message for call in self.calls for message in call.messages]

    def numbers(self) -> set[str]:
        """The numbers of its requests."""
        return {message.metadata.message_id for message in self.messages}


class RayGrid(SimulatedGrid):
    """Clients on Ray workers; requests wait in order for a free one.

    Requests to small sites go out several in a call. A worker that dies or hangs is replaced; of
    several requests each is then made again by itself, and that which ends its worker or hangs
    again is answered with an error. A machine of a cluster that is lost takes only its own workers
    with it.
    """

    combines = True

    def __init__(self, workers: Workers, n_nodes: int, n_workers: int) -> None:
        import ray  # here: a deployed run does not need it

        super().__init__(n_nodes)
        self._ray, self._workers = ray, workers
        self._log = logging.getLogger("heartfed")
        self._queue: deque[Message] = deque()
        self._not_shared: set[str] = set()  # requests that must be the only one of their worker
        self._stored: tuple[list[ArrayRecord], Any] = ([], ray.put([]))  # sent last, and where
        self._combine: list[Any] = []  # where Ray holds the function that combines replies
        self._times = VisitTimes()
        self._slots: list[WorkerSlot] = []
        for _ in range(n_workers):
            self._add_worker()

    def _add_worker(self) -> None:
        actor = self._workers.create()
        slot = WorkerSlot(actor, self._workers.start(actor))
        self._slots.append(slot)
        self._continue_start(slot, None)

    def _continue_start(self, slot: WorkerSlot, result: Any) -> None:
        try:
            slot.starting = slot.start.send(result)
        except StopIteration:
            slot.starting = None

    def combine_with(self, combine: Combine | None) -> None:
        self._combine = [] if combine is None else [self._ray.put(combine)]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        numbers = super().push_messages(messages)
        self._dispatch()  # now that it is known how many there are
        return numbers

    def submit(self, message: Message) -> None:
        self._queue.append(message)

    def _dispatch(self) -> None:
        ready = [slot for slot in self._slots if slot.starting is None]
        while self._queue and ready:
            # While many requests are left, a worker has its next one there when it ends one. Near
            # the end each waits for a free worker: another might be free sooner than this one.
            many_left = len(self._queue) > QUEUE_AHEAD * len(ready)
            slot = min(ready, key=lambda slot: len(slot.messages))
            if slot.calls and not (many_left and self._may_wait_at(slot)):
                return
            self._send(slot, self._next_messages())

    def _next_messages(self) -> list[Message]:
        """The requests of the next call, taken from the queue: those of one call share arrays."""
        first = self._queue[0]
        if first.metadata.message_id in self._not_shared:
            return [self._queue.popleft()]
        alike = self._alike(first)
        count = self._times.in_one_call(alike, len(self._queue), len(self._slots))
        return [self._queue.popleft() for _ in range(count)]

    def _alike(self, first: Message) -> Iterator[Message]:
        """Waiting requests, until one that must be alone, or has other arrays than the first."""
        arrays = _arrays_of(first)
        for message in self._queue:
            if message.metadata.message_id in self._not_shared:
                return
            if [*map(id, _arrays_of(message))] != [*map(id, arrays)]:
                return
            yield message

    def _send(self, slot: WorkerSlot, messages: list[Message]) -> None:
        contexts = [self.contexts[message.metadata.dst_node_id] for message in messages]
        rests, arrays = self._store_arrays(messages)
        future = self._workers.send(slot.actor, rests, contexts, arrays, self._combine)
        if not slot.calls:
            slot.began = time.monotonic()
        slot.calls.append(Call(future, messages))

    def _may_wait_at(self, slot: WorkerSlot) -> bool:
        """Whether the next request may wait at a worker that makes one."""
        numbers = slot.numbers() | {self._queue[0].metadata.message_id}
        return len(slot.calls) == 1 and not self._not_shared & numbers

    def _store_arrays(self, messages: Sequence[Message]) -> tuple[list[Message], Any]:
        """The messages without their arrays, and where Ray holds these: once for a whole round."""
        records = _arrays_of(messages[0])
        last, place = self._stored
        if [*map(id, last)] != [*map(id, records)]:
            place = self._ray.put(records)
            self._stored = records, place
        rests, contents = [], dict[int, RecordDict]()  # most requests of a round share theirs
        for message in messages:
            rest, content = copy.copy(message), message.content
            if id(content) not in contents:
                names = set(arrays_in(content))
                contents[id(content)] = RecordDict(
                    {k: ArrayRecord() if k in names else v for k, v in content.items()}
                )
            rest.content = contents[id(content)]
            rests.append(rest)
        return rests, place

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        busy = any(slot.calls for slot in self._slots)
        for problem in self.continue_starts(0 if busy else WAIT):
            self._log.warning("a worker could not start: %s", problem)
        if not self._slots:
            raise FederationError("No worker is left. Go on with --resume.")
        # A worker makes its calls in the order in which it was given them.
        slot_of = {slot.calls[0].future: slot for slot in self._slots if slot.calls}
        if not slot_of:
            return []
        done, _ = self._ray.wait(list(slot_of), num_returns=1, timeout=WAIT)
        if not done:
            self._give_up_overdue()
        return [reply for future in done for reply in self._finish(slot_of[future])]

    def _give_up_overdue(self) -> None:
        """Make the requests of a call that takes far too long again, each by itself."""
        now = time.monotonic()
        for slot in list(self._slots):
            if slot.calls and now - slot.began > self._times.overdue_after(slot.calls[0].messages):
                self._log.debug("a call takes too long: its requests are made again one by one")
                self._not_shared |= {m.metadata.message_id for m in slot.calls[0].messages}
                self._replace(slot)
        self._dispatch()

    def starting(self) -> list[Any]:
        """Workers that do not take requests yet."""
        return [slot.actor for slot in self._slots if slot.starting is not None]

    def continue_starts(self, timeout: float) -> list[str]:
        """Wait for workers that can go on with their start; why any of them cannot."""
        starting = [slot for slot in self._slots if slot.starting is not None]
        if not starting:
            return []
        futures = list({slot.starting for slot in starting})  # several may wait for the same
        done, _ = self._ray.wait(futures, num_returns=1, timeout=timeout)
        problems = []
        for slot in starting:
            if slot.starting in done:
                try:
                    self._continue_start(slot, self._ray.get(slot.starting))
                except self._ray.exceptions.RayTaskError as error:
                    problems.append(self._give_up(slot, error.cause))
                except (self._ray.exceptions.RayError, ConfigError) as error:
                    problems.append(self._give_up(slot, error))
        self._dispatch()
        return problems

    def _give_up(self, slot: WorkerSlot, error: BaseException) -> str:
        """Do without a worker that cannot start; why, in one line."""
        slot.start.close()
        self._slots.remove(slot)
        self._ray.kill(slot.actor)
        return " ".join(str(error).split())

    def _finish(self, slot: WorkerSlot) -> list[Message]:
        """The replies to a worker's first call; none if its requests have to be made again."""
        call, slot.began = slot.calls.popleft(), time.monotonic()
        messages = call.messages
        replies: list[Message]
        try:
            replies = self._read(self._workers.read(self._ray.get(call.future)), messages)
        except self._ray.exceptions.RayTaskError as error:
            replies = [error_reply(message, error.cause) for message in messages]
        except self._ray.exceptions.RayError as error:  # or its machine was lost with the reply
            self._log.debug("a worker died", exc_info=error)
            if slot.calls or len(messages) > 1:
                # Which of them ended it is not known: each is made again with none behind it.
                slot.calls.appendleft(call)
                self._not_shared |= slot.numbers()
                self._replace(slot)
                self._dispatch()
                return []
            replies = [error_reply(messages[0], RuntimeError("its worker process died"))]
            self._replace(slot)
        self._dispatch()
        return replies

    def _read(self, visits: Visits, messages: Sequence[Message]) -> list[Message]:
        """The replies to a call; an answer that stands for others is put with `combined`."""
        for message in messages:
            kind, node = message.metadata.message_type, message.metadata.dst_node_id
            self._times.note(kind, node, visits.seconds[node])
        self.contexts |= visits.contexts
        if visits.combined:
            self.combined.append(pickle.loads(visits.combined))
        for reply in visits.replies:
            _copy_arrays_out(reply)
        return list(visits.replies)

    def _replace(self, slot: WorkerSlot) -> None:
        """End a worker and start another; the requests that it still had wait again."""
        self._queue.extendleft(reversed(slot.messages))
        self._slots.remove(slot)
        self._ray.kill(slot.actor)
        self._add_worker()

    def abandon(self, message_ids: Iterable[str]) -> None:
        abandoned = set(message_ids)
        for slot in list(self._slots):
            if slot.numbers() & abandoned:
                # The client may hang for ever, and only its process can be ended.
                self._replace(slot)
        self._queue = deque(m for m in self._queue if m.metadata.message_id not in abandoned)
        self._dispatch()

    def close(self) -> None:
        """End the workers."""
        self._workers.clean_up([slot.actor for slot in self._slots if slot.idle])
        for slot in self._slots:
            self._ray.kill(slot.actor)


def _arrays_of(message: Message) -> list[ArrayRecord]:
    return list(arrays_in(message.content).values())


def _copy_arrays_out(reply: Message) -> None:
    """Copy a reply's arrays out of Ray's store, which is too small for those of a whole round."""
    for record in arrays_in(reply.content).values() if reply.has_content() else ():
        copy_arrays(record)
