"""How many requests a call holds: by measured time, and never so many that a worker has none."""

import math

import pytest
from flwr.app import Message, MessageType, RecordDict

from server.engines.grid_internals import identify_server
from server.engines.visit_times import CALL, FEWEST_SECONDS, OF_TIMEOUT, OVERDUE, VisitTimes


def requests(count, ttl=1e6):
    identify_server()
    return [Message(RecordDict(), 1001 + i, MessageType.TRAIN, ttl=ttl) for i in range(count)]


def measured(seconds, nodes=1):
    times = VisitTimes()
    for node in range(1001, 1001 + nodes):
        times.note(MessageType.TRAIN, node, seconds)
    return times


def test_of_an_unknown_kind_one_request_goes_out_first():
    waiting = requests(100)
    assert VisitTimes().in_one_call(waiting, 100, 2) == 1


@pytest.mark.parametrize(
    ("seconds", "waiting", "workers", "count"),
    [
        (0.0101, 1000, 2, 59),  # as many as fill a call
        (2.0, 1000, 2, 1),
        (0.0101, 80, 2, 20),  # half of each worker's share
        (0.0101, 30, 2, 9),  # no shorter than a short call
        (0.0101, 2, 2, 1),  # each worker has one
        (0.0101, 1, 8, 1),
    ],
)
def test_a_call_is_as_long_as_pays_and_leaves_work_for_all(seconds, waiting, workers, count):
    assert measured(seconds).in_one_call(requests(waiting), waiting, workers) == count


def test_each_node_counts_by_its_own_time():
    times = measured(0.01, nodes=3)
    times.note(MessageType.TRAIN, 1002, 5.0)
    assert times.in_one_call(requests(1000), 1000, 2) == 1


def test_a_call_of_several_is_overdue_long_before_its_sites_time_is_over():
    times = measured(2.0, nodes=2)
    assert times.overdue_after(requests(1)) == math.inf
    assert times.overdue_after(requests(2)) == OVERDUE * 4.0
    assert measured(0.01).overdue_after(requests(2)) == FEWEST_SECONDS
    assert times.overdue_after(requests(2, ttl=8.0)) == OF_TIMEOUT * 8.0
    assert CALL < FEWEST_SECONDS
