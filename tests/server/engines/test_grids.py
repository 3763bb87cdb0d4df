"""Our grids: requests reach their sites, and clients that do not answer are replaced."""

import os
import pickle
import signal
import time

import numpy as np
import pytest
import ray
from flwr.app import ConfigRecord, Context, Error, Message, MessageType, RecordDict

from fl.config.run_config import RunConfig
from fl.messages.flower_arrays import from_array_record, to_array_record
from fl.messages.job import Job
from fl.util.errors import ConfigError, FederationError
from server.app import SilentListener
from server.engines.grid_base import collect
from server.engines.in_process import LocalGrid
from server.engines.numbered_message import NumberedMessage
from server.engines.ray_grid import RayGrid
from server.engines.ray_workers import LocalWorkers, WorkerPool, ray_running
from server.rounds.site_requests import discover_sites

CONFIG = RunConfig(workers=2)


def echo():
    """A client that sends back what it was sent, and hangs if the request says so.

    A function inside a function, which is sent whole: workers cannot import this file.
    """

    def client(message: Message, context: Context) -> Message:
        if message.content["config"]["hang"]:
            time.sleep(3600)
        return Message(message.content, reply_to=message)

    return client


def request(node, hang=False):
    content = RecordDict({"config": ConfigRecord({"hang": hang})})
    return Message(content, node, MessageType.QUERY)


def both(hang=False):
    """Requests to two nodes, of which the first may hang."""
    return [request(1001, hang), request(1002)]


def nodes_that_answer(grid, messages, timeout):
    replies = collect(grid, messages, timeout, lambda reply: None)
    assert not any(reply.has_error() for reply in replies)
    return sorted(reply.metadata.src_node_id for reply in replies)


def test_the_worker_of_a_client_that_hangs_is_replaced():
    with ray_running(CONFIG):
        grid = RayGrid(LocalWorkers(echo()), 2, n_workers=2)
        try:
            one, two = grid.get_node_ids()
            assert nodes_that_answer(grid, [request(one), request(two)], timeout=120) == [one, two]
            began = time.monotonic()
            assert nodes_that_answer(grid, [request(one, hang=True), request(two)], timeout=3) == [
                two
            ]
            assert time.monotonic() - began < 30
            assert nodes_that_answer(grid, both(), timeout=120) == [one, two]
        finally:
            grid.close()


def test_a_request_whose_reply_is_no_longer_wanted_is_not_made():
    grid = LocalGrid(echo(), 2)
    one, two = grid.get_node_ids()
    (late,) = grid.push_messages([request(one)])
    grid.abandon([late])
    assert nodes_that_answer(grid, [request(two)], timeout=5) == [two]


def test_workers_started_before_the_run_are_used_and_ray_runs_until_the_pool_is_closed():
    pool = WorkerPool(CONFIG, ["clients.app"])
    try:
        for started in (2, 0):  # those of the pool, then none
            actors = pool.take()
            assert len(actors) == started
            grid = RayGrid(LocalWorkers(echo(), started=actors), 2, n_workers=2)
            nodes = list(grid.get_node_ids())
            assert nodes_that_answer(grid, [request(node) for node in nodes], timeout=120) == nodes
            grid.close()
    finally:
        pool.close()
    assert not ray.is_initialized()


def test_requests_that_waited_at_a_worker_that_died_are_made_by_another():
    """Only a request that ends its worker by itself is answered with an error."""
    n_nodes = 40

    def client(message: Message, context: Context) -> Message:
        if context.node_config["partition-id"] % 10 == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        doubled = 2 * message.content["arrays"]["x"].numpy()
        return Message(RecordDict({"arrays": to_array_record({"x": doubled})}), reply_to=message)

    with ray_running(CONFIG):
        grid = RayGrid(LocalWorkers(client), n_nodes, n_workers=2)
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


def test_sites_that_do_not_answer_at_the_start_are_named():
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


class SharedStart(LocalWorkers):
    """Workers that all wait for one thing before their first request; some then cannot start."""

    def __init__(self, client, refused):
        super().__init__(client)
        self._shared, self._refused, self._number = ray.put("copied"), refused, 0

    def start(self, actor):
        self._number += 1
        refuse = self._number in self._refused
        yield from super().start(actor)
        assert (yield self._shared) == "copied"
        if refuse:
            raise ConfigError("another version of torch")


def test_a_worker_that_cannot_start_is_left_out_until_none_is_left(caplog):
    with ray_running(CONFIG):
        grid = RayGrid(SharedStart(echo(), refused={2, 3}), 2, n_workers=2)
        try:
            one, two = grid.get_node_ids()
            assert nodes_that_answer(grid, both(), timeout=120) == [one, two]
            assert caplog.messages == ["a worker could not start: another version of torch"]
            # The only worker hangs, and the one in its place cannot start.
            collect(grid, [request(one, hang=True)], 1, lambda reply: None)
            with pytest.raises(FederationError, match="No worker is left"):
                collect(grid, [request(one)], 120, lambda reply: None)
        finally:
            grid.close()


@pytest.mark.parametrize("fails", [True, False])
def test_a_reply_that_a_superlink_sends_for_a_node_is_that_nodes(fails):
    class SuperLink(LocalGrid):
        def pull_messages(self, message_ids):
            for reply in super().pull_messages(message_ids):
                content = Error(5, "node is away") if fails else reply.content
                yield Message(content, reply_to=NumberedMessage(request(1), "1"))

    grid = SuperLink(echo(), 1)
    (reply,) = collect(grid, [request(1001)], 5, lambda reply: None)
    assert reply.metadata.src_node_id == 1001
    assert reply.has_error() == fails


def test_a_request_keeps_what_it_was_made_with_and_gets_a_number():
    LocalGrid(echo(), 1)  # without a grid no message can be made
    made = Message(RecordDict(), 1001, MessageType.TRAIN, ttl=7.0, group_id="3")
    numbered = pickle.loads(pickle.dumps(NumberedMessage(made, "12")))
    assert vars(numbered.metadata) == vars(made.metadata) | {"_message_id": "12"}
    assert Message(RecordDict(), reply_to=numbered).metadata.reply_to_message_id == "12"
