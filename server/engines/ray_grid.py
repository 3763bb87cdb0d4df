"""Clients on Ray workers of this machine."""

import copy
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from flwr.app import ArrayRecord, Message, RecordDict
from flwr.clientapp import ClientApp

from fl.messages.flower_arrays import copy_arrays
from server.engines.grid_base import WAIT, SimulatedGrid, error_reply
from server.engines.ray_workers import start_worker

AHEAD = 4  # visits left per worker from which on a worker is given the next one before it is free


@dataclass
class WorkerSlot:
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

    def _new_seat(self) -> WorkerSlot:
        return self._seat(start_worker(self._n_gpus))

    def _seat(self, actor: Any) -> WorkerSlot:
        actor.serve.remote(self._app)
        return WorkerSlot(actor)

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

    def _may_wait(self, seat: WorkerSlot) -> bool:
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

    def _finish(self, seat: WorkerSlot) -> list[Message]:
        """The reply to a worker's first visit; none if that has to be made again."""
        future, message = seat.visits.popleft()
        reply: Message
        try:
            reply, context = self._ray.get(future)
            self.contexts[message.metadata.dst_node_id] = context
            _copy_arrays_out(reply)
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

    def _replace(self, seat: WorkerSlot) -> None:
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


def _copy_arrays_out(reply: Message) -> None:
    """Copy a reply's arrays out of Ray's store, which is too small for those of a whole round."""
    for record in reply.content.array_records.values() if reply.has_content() else ():
        copy_arrays(record)
