"""Several trainings over one grid, each at its own pace: the one with the most left goes first."""

import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from flwr.app import Message
from flwr.serverapp import Grid

from fl.util.errors import FederationError
from server.engines.grid_base import SimulatedGrid, error_reply

Requests = list[Message]
Answers = list[tuple[Message, float]]  # replies in order of arrival, each with its seconds
Steps = Generator[Requests, Answers, None]  # a training, as the requests it makes in turn


class ConcurrentTraining(Protocol):
    """A training that needs nobody's results but its own."""

    @property
    def name(self) -> str: ...

    def steps(self) -> Steps:
        """Its requests, batch by batch; sent back are the answers to the last batch."""

    def left(self) -> float:
        """How much work it has left, in any unit all share."""


@dataclass
class _Running:
    course: ConcurrentTraining
    steps: Steps
    unsent: deque[Message]
    asked: int
    answers: Answers = field(default_factory=list)


def run_concurrently(
    grid: Grid, courses: Sequence[ConcurrentTraining], width: int, timeout: float
) -> Mapping[str, str]:
    """Run all to their end, `width` requests at a time; why those failed that did, by name.

    Only as many requests are out as there are workers, and the next is always of the training
    with the most left: the longest one, which pools all records, would otherwise wait its turn
    behind every site and be alone on one worker at the end.
    """
    failed: dict[str, str] = {}
    running = [r for course in courses if (r := _begin(course, failed))]
    out: dict[str, tuple[_Running, Message, float]] = {}
    while running:
        while len(out) < width and (ready := [r for r in running if r.unsent]):
            longest = max(ready, key=lambda r: r.course.left())
            message = longest.unsent.popleft()
            (number,) = grid.push_messages([message])
            out[number] = (longest, message, time.monotonic())
        for reply, number in _replies(grid, out, timeout):
            waiting, _, began = out.pop(number)
            waiting.answers.append((reply, time.monotonic() - began))
            if len(waiting.answers) == waiting.asked and not _go_on(waiting, failed):
                running.remove(waiting)
    return failed


def _begin(course: ConcurrentTraining, failed: dict[str, str]) -> _Running | None:
    begun = _Running(course, course.steps(), deque(), 0)
    return begun if _go_on(begun, failed, first=True) else None


def _go_on(running: _Running, failed: dict[str, str], first: bool = False) -> bool:
    """Hand over the answers and take the next requests; False at the end."""
    try:
        requests = next(running.steps) if first else running.steps.send(running.answers)
    except StopIteration:
        return False
    except FederationError as error:
        failed[running.course.name] = str(error)
        return False
    running.unsent, running.asked, running.answers = deque(requests), len(requests), []
    return True


def _replies(
    grid: Grid, out: Mapping[str, tuple[_Running, Message, float]], timeout: float
) -> list[tuple[Message, str]]:
    """What has come, and an error for every request that has waited too long."""
    came = [(reply, reply.metadata.reply_to_message_id) for reply in grid.pull_messages(list(out))]
    if not came and not getattr(grid, "pull_waits", False):
        time.sleep(0.05)
    there = {number for _, number in came}
    for number, (_, message, began) in out.items():
        if number not in there and time.monotonic() - began > timeout:
            if isinstance(grid, SimulatedGrid):
                grid.abandon([number])
            late = TimeoutError(f"no answer within {timeout:g} s")
            came.append((error_reply(message, late), number))
    return came
