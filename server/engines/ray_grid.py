"""Clients on Ray workers: requests are handed out, and workers that fail are replaced."""

import copy
import logging
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from flwr.app import ArrayRecord, Context, Message, RecordDict

from fl.messages.flower_arrays import copy_arrays
from fl.util.errors import ConfigError, FederationError
from server.engines.grid_base import WAIT, SimulatedGrid, error_reply

QUEUE_AHEAD = 4  # with more requests than this left per worker, a busy worker gets its next one

# The start of a worker after its process: it yields a Ray future and is sent what that holds.
WorkerStart = Generator[Any, Any, None]


class Workers(Protocol):
    """Where a grid's workers run, and how the files of a site get there."""

    def create(self) -> Any:
        """A new worker, as a Ray actor of one core; returns before its process is up."""

    def start(self, actor: Any) -> WorkerStart:
        """What the worker does before its first request. `ConfigError` if it is of no use."""

    def send(self, actor: Any, message: Message, context: Context, arrays: Any) -> Any:
        """Have the worker make a request; the future of its answer.

        `message` comes without its arrays, which Ray holds at `arrays`.
        """

    def read(self, answer: Any) -> tuple[Message, Context]:
        """The client's reply and its context from what `send`'s future holds."""

    def clean_up(self, actors: Sequence[Any]) -> None:
        """Let these workers, which have nothing to do, remove what they wrote."""


@dataclass
class WorkerSlot:
    """A worker and the requests it was given: it makes the first, the others wait there."""

    actor: Any
    start: WorkerStart
    starting: Any = None  # the future that its start waits for; None: it takes requests
    requests: deque[tuple[Any, Message]] = field(default_factory=deque)  # future, message

    @property
    def idle(self) -> bool:
        """Whether it waits for a request."""
        return self.starting is None and not self.requests

    def numbers(self) -> set[str]:
        """The numbers of its requests."""
        return {message.metadata.message_id for _, message in self.requests}


class RayGrid(SimulatedGrid):
    """Clients on Ray workers; requests wait in order for a free one.

    A worker that dies or hangs is replaced, and its request is answered with an error. A machine
    of a cluster that is lost takes only its own workers with it.
    """

    def __init__(self, workers: Workers, n_nodes: int, n_workers: int) -> None:
        import ray  # here: a deployed run does not need it

        super().__init__(n_nodes)
        self._ray, self._workers = ray, workers
        self._log = logging.getLogger("heartfed")
        self._queue: deque[Message] = deque()
        self._not_shared: set[str] = set()  # requests that must not share a worker's queue
        self._stored: tuple[list[ArrayRecord], Any] = ([], ray.put([]))  # sent last, and where
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

    def submit(self, message: Message) -> None:
        self._queue.append(message)
        self._dispatch()

    def _dispatch(self) -> None:
        ready = [slot for slot in self._slots if slot.starting is None]
        while self._queue and ready:
            # While many requests are left, a worker has its next one there when it ends one. Near
            # the end each waits for a free worker: another might be free sooner than this one.
            many_left = len(self._queue) > QUEUE_AHEAD * len(ready)
            slot = min(ready, key=lambda slot: len(slot.requests))
            if slot.requests and not (many_left and self._may_wait_at(slot)):
                return
            message = self._queue.popleft()
            context = self.contexts[message.metadata.dst_node_id]
            rest, arrays = self._store_arrays(message)
            future = self._workers.send(slot.actor, rest, context, arrays)
            slot.requests.append((future, message))

    def _may_wait_at(self, slot: WorkerSlot) -> bool:
        """Whether the next request may wait at a worker that makes one."""
        numbers = slot.numbers() | {self._queue[0].metadata.message_id}
        return len(slot.requests) == 1 and not self._not_shared & numbers

    def _store_arrays(self, message: Message) -> tuple[Message, Any]:
        """The message without its arrays, and where Ray holds these: once for a whole round."""
        names = list(message.content.array_records)
        records = [message.content.array_records[name] for name in names]
        last, place = self._stored
        if [*map(id, last)] != [*map(id, records)]:
            place = self._ray.put(records)
            self._stored = records, place
        rest = copy.copy(message)
        rest.content = RecordDict(
            {k: ArrayRecord() if k in names else v for k, v in message.content.items()}
        )
        return rest, place

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        busy = any(slot.requests for slot in self._slots)
        for problem in self.continue_starts(0 if busy else WAIT):
            self._log.warning("a worker could not start: %s", problem)
        if not self._slots:
            raise FederationError("No worker is left. Go on with --resume.")
        # A worker makes its requests in the order in which it was given them.
        slot_of = {slot.requests[0][0]: slot for slot in self._slots if slot.requests}
        if not slot_of:
            return []
        done, _ = self._ray.wait(list(slot_of), num_returns=1, timeout=WAIT)
        return [reply for future in done for reply in self._finish(slot_of[future])]

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
        """The reply to a worker's first request; none if that has to be made again."""
        future, message = slot.requests.popleft()
        reply: Message
        try:
            reply, context = self._workers.read(self._ray.get(future))
            self.contexts[message.metadata.dst_node_id] = context
            _copy_arrays_out(reply)
        except self._ray.exceptions.RayTaskError as error:
            reply = error_reply(message, error.cause)
        except self._ray.exceptions.RayError as error:  # or its machine was lost with the reply
            self._log.debug("a worker died", exc_info=error)
            if slot.requests:
                # Which of the two ended it is not known: each is made again with none behind it.
                slot.requests.appendleft((future, message))
                self._not_shared |= slot.numbers()
                self._replace(slot)
                self._dispatch()
                return []
            reply = error_reply(message, RuntimeError("its worker process died"))
            self._replace(slot)
        self._dispatch()
        return [reply]

    def _replace(self, slot: WorkerSlot) -> None:
        """End a worker and start another; the requests that it still had wait again."""
        self._queue.extendleft(message for _, message in reversed(slot.requests))
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


def _copy_arrays_out(reply: Message) -> None:
    """Copy a reply's arrays out of Ray's store, which is too small for those of a whole round."""
    for record in reply.content.array_records.values() if reply.has_content() else ():
        copy_arrays(record)
