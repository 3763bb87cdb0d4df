"""Several requests in one call of a Ray worker: a site that hangs or ends its worker is named."""

import time

import pytest
from flwr.app import ConfigRecord, Context, Message, MessageType, RecordDict

from fl.config.run_config import RunConfig
from server.engines import visit_times
from server.engines.grid_base import Combining, collect
from server.engines.ray_grid import RayGrid
from server.engines.ray_workers import LocalWorkers, ray_running

NODES, WORKERS = 24, 2
pytestmark = pytest.mark.slow  # Ray starts, and a worker is replaced


def client_that(hangs_at):
    """A client that answers with its number, and hangs or fails at one site if it is asked to.

    A function inside a function, which is sent whole: workers cannot import this file.
    """

    def client(message: Message, context: Context) -> Message:
        number = int(context.node_config["partition-id"])
        what = message.content["config"]["what"]
        if number == hangs_at and what == "hang":
            time.sleep(3600)
        if number == hangs_at and what == "fail":
            raise OSError("disk on fire")
        return Message(RecordDict({"config": ConfigRecord({"number": number})}), reply_to=message)

    return client


def adding():
    """Adds the sites' numbers, except those of errors; a function that is sent whole too."""

    def add(replies):
        good = [reply for reply in replies if reply.has_content()]
        if not good:
            return None
        total = sum(int(str(reply.content["config"]["number"])) for reply in good)
        return total, tuple(reply.metadata.reply_to_message_id for reply in good)

    return add


def requests(what):
    return [
        Message(RecordDict({"config": ConfigRecord({"what": what})}), 1001 + i, MessageType.QUERY)
        for i in range(NODES)
    ]


@pytest.fixture(scope="module")
def grid():
    with ray_running(RunConfig(workers=WORKERS)):
        grid = RayGrid(LocalWorkers(client_that(7)), NODES, n_workers=WORKERS)
        yield grid
        grid.close()


def asked(grid, what, timeout=120):
    """The sums that came, each with its number of sites; and the replies of single sites."""
    found = []
    combining = Combining(
        combine=adding(), read=lambda messages, total: found.append((total, len(messages)))
    )
    replies = collect(grid, requests(what), timeout, lambda reply: None, combining)
    return found, replies


def numbers(replies):
    return [int(str(r.content["config"]["number"])) for r in replies if r.has_content()]


def test_many_sites_are_asked_in_few_calls_and_nobody_is_lost(grid):
    for _ in range(2):
        found, replies = asked(grid, "")
        assert sum(n for _, n in found) + len(replies) == NODES
        assert sum(total for total, _ in found) + sum(numbers(replies)) == sum(range(NODES))
    assert len(found) + len(replies) < NODES / 2
    assert grid.combined == []


def test_a_site_that_fails_is_the_only_one_without_an_answer(grid):
    asked(grid, "")  # so that it is known how long a request takes
    found, replies = asked(grid, "fail")
    (error,) = [reply for reply in replies if reply.has_error()]
    assert error.metadata.src_node_id == 1008
    assert error.error.reason == "OSError: disk on fire"
    assert sum(total for total, _ in found) + sum(numbers(replies)) == sum(range(NODES)) - 7


def test_a_site_that_hangs_in_a_call_costs_itself_alone(grid, monkeypatch):
    monkeypatch.setattr(visit_times, "FEWEST_SECONDS", 1.0)
    asked(grid, "")
    found, replies = asked(grid, "hang", timeout=40)
    answered = sum(n for _, n in found) + len(replies)
    assert answered == NODES - 1
    assert sum(total for total, _ in found) + sum(numbers(replies)) == sum(range(NODES)) - 7
