"""Our grids: what happens to a client that does not answer."""

import os
import signal
import time

import numpy as np
import pytest
import ray
from flwr.app import ConfigRecord, Context, Message, MessageType, RecordDict

from fl.config.run_config import RunConfig
from fl.messages.flower_arrays import from_array_record, to_array_record
from fl.messages.job import Job
from fl.util.errors import FederationError
from server.app import SilentListener
from server.engines.grid_base import collect
from server.engines.in_process import LocalGrid
from server.engines.ray_grid import RayGrid
from server.engines.ray_workers import WorkerPool, ray_running
from server.rounds.site_requests import discover_sites

CONFIG = RunConfig(workers=2)


def echo():
    """A client that sends back what it was sent, and hangs if it is told to.

    Made here, not found by its module: workers do not know this file.
    """

    def client(message: Message, context: Context) -> Message:
        if message.content["config"]["hang"]:
            time.sleep(3600)
        return Message(message.content, reply_to=message)

    return client


def ask(grid, node, hang=False):
    content = RecordDict({"config": ConfigRecord({"hang": hang})})
    return Message(content, node, MessageType.QUERY)


def answered(grid, messages, timeout):
    replies = collect(grid, messages, timeout, lambda reply: None)
    assert not any(reply.has_error() for reply in replies)
    return sorted(reply.metadata.src_node_id for reply in replies)


def test_a_client_that_hangs_is_given_up_and_its_worker_replaced():
    with ray_running(CONFIG):
        grid = RayGrid(echo(), 2, workers=2, n_gpus=0)
        try:
            one, two = grid.get_node_ids()
            assert answered(grid, [ask(grid, one), ask(grid, two)], timeout=120) == [one, two]
            began = time.monotonic()
            assert answered(grid, [ask(grid, one, hang=True), ask(grid, two)], timeout=3) == [two]
            assert time.monotonic() - began < 30
            both = [ask(grid, one), ask(grid, two)]
            assert answered(grid, both, timeout=120) == [one, two]
        finally:
            grid.close()


def test_messages_that_n_nodes_waits_for_are_forgotten():
    grid = LocalGrid(echo(), 2)
    one, two = grid.get_node_ids()
    (late,) = grid.push_messages([ask(grid, one)])
    grid.abandon([late])
    assert answered(grid, [ask(grid, two)], timeout=5) == [two]


def test_workers_started_beforehand_serve_and_ray_outlives_them_until_it_is_told_to_leave():
    crew = WorkerPool(CONFIG, ["clients.app"])
    try:
        for started in (2, 0):  # those of the crew, then new ones
            actors = crew.take()
            assert len(actors) == started
            grid = RayGrid(echo(), 2, workers=2, n_gpus=0, started=actors)
            nodes = list(grid.get_node_ids())
            assert answered(grid, [ask(grid, node) for node in nodes], timeout=120) == nodes
            grid.close()
    finally:
        crew.close()
    assert not ray.is_initialized()


def test_each_of_many_visits_is_made_once_and_workers_die_in_the_middle():
    """More visits than workers: some wait at a worker that dies, and are made by the next."""
    n_nodes = 40

    def client(message: Message, context: Context) -> Message:
        if context.node_config["partition-id"] % 10 == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        doubled = 2 * message.content["arrays"]["x"].numpy()
        return Message(RecordDict({"arrays": to_array_record({"x": doubled})}), reply_to=message)

    with ray_running(CONFIG):
        grid = RayGrid(client, n_nodes, workers=2, n_gpus=0)
        try:
            arrays = to_array_record({"x": np.arange(50_000.0)})
            config = ConfigRecord()
            messages = [
                Message(RecordDict({"arrays": arrays, "config": config}), node, MessageType.QUERY)
                for node in grid.get_node_ids()
            ]
            replies = collect(grid, messages, 240, lambda reply: None)
        finally:
            grid.close()
    dead = {r.metadata.src_node_id - 1001 for r in replies if r.has_error()}
    assert dead == {3, 13, 23, 33}
    assert len(replies) == n_nodes
    for reply in replies:
        if not reply.has_error():
            found = from_array_record(reply.content["arrays"])["x"]
            np.testing.assert_array_equal(found, 2 * np.arange(50_000.0))


def test_hospitals_that_are_silent_at_the_roll_call_are_named():
    class OneAnswers(LocalGrid):
        def submit(self, message: Message) -> None:
            if message.metadata.dst_node_id == 1001:
                super().submit(message)

    def client(message: Message, context: Context) -> Message:
        return Message(message.content, reply_to=message)

    grid = OneAnswers(client, 3)
    nodes = {"north": 1001, "south": 1002, "east": 1003}
    job = Job(strategy="fedavg", config={"timeout": 0.2, "clients": 3}, nodes=nodes)
    with pytest.raises(FederationError, match=r"^2 of 3 sites \(south, east\) did not answer"):
        discover_sites(grid, job, SilentListener())
