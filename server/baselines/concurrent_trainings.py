"""Several trainings over one grid at once; the one with the most work left goes first."""

import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from flwr.app import Message
from flwr.serverapp import Grid

from fl.util.errors import FederationError
from server.engines.grid_base import SimulatedGrid
from server.engines.site_visits import error_reply

Requests = list[Message]
Answers = list[tuple[Message, float]]  # replies in order of arrival, each with its seconds
Steps = Generator[Requests, Answers, None]  # a training, as the requests it makes in turn


class ConcurrentTraining(Protocol):
    """A training that needs no results but its own."""

    @property
    def name(self) -> str: ...

    def steps(self) -> Steps:
        """Its requests, batch by batch; sent back are the answers to the last batch."""

    def left(self) -> float:
        """How much work it has left, in any unit that all share."""


@dataclass
class _Running:
    training: ConcurrentTraining
    steps: Steps
    unsent: deque[Message]
    asked: int  # requests of the current batch
    answers: Answers = field(default_factory=list)


def run_concurrently(
    grid: Grid, trainings: Sequence[ConcurrentTraining], width: int, timeout: float
) -> Mapping[str, str]:
    """Run all to their end, `width` requests at a time; the reasons of those that failed, by name.

    Only as many requests are out as there are workers, and the next is always of the training
    with the most left: the longest one, which pools all records, would otherwise wait its turn
    behind every site and be the only one left, on one worker, at the end.
    """
    failed: dict[str, str] = {}
    running = [started for t in trainings if (started := _start(t, failed))]
    sent: dict[str, tuple[_Running, Message, float]] = {}
    while running:
        while len(sent) < width and (ready := [r for r in running if r.unsent]):
            longest = max(ready, key=lambda r: r.training.left())
            message = longest.unsent.popleft()
            (number,) = grid.push_messages([message])
            sent[number] = (longest, message, time.monotonic())
        for reply, number in _replies(grid, sent, timeout):
            waiting, _, began = sent.pop(number)
            waiting.answers.append((reply, time.monotonic() - began))
            if len(waiting.answers) == waiting.asked and not _next_batch(waiting, failed):
                running.remove(waiting)
    return failed


def _start(training: ConcurrentTraining, failed: dict[str, str]) -> _Running | None:
    started = _Running(training, training.steps(), deque(), 0)
    return started if _next_batch(started, failed, first=True) else None


def _next_batch(running: _Running, failed: dict[str, str], first: bool = False) -> bool:
    """Hand over the answers and take the next requests; False at the end."""
    try:
        requests = next(running.steps) if first else running.steps.send(running.answers)
    except StopIteration:
        return False
    except FederationError as error:
        failed[running.training.name] = str(error)
        return False
    running.unsent, running.asked, running.answers = deque(requests), len(requests), []
    return True


def _replies(
    grid: Grid, sent: Mapping[str, tuple[_Running, Message, float]], timeout: float
) -> list[tuple[Message, str]]:
    """The replies that have come, and an error for every request that has waited too long."""
    replies = [(reply, reply.metadata.reply_to_message_id) for reply in grid.pull_messages([*sent])]
    if not replies and not getattr(grid, "pull_waits", False):
        time.sleep(0.05)
    answered = {number for _, number in replies}
    for number, (_, message, began) in sent.items():
        if number not in answered and time.monotonic() - began > timeout:
            if isinstance(grid, SimulatedGrid):
                grid.abandon([number])
            late = TimeoutError(f"no answer within {timeout:g} s")
            replies.append((error_reply(message, late), number))
    return replies
