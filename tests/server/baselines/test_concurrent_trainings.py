"""Trainings at the same time: as many requests as workers, and the longest training first."""

import pytest
from flwr.app import ConfigRecord, Message, MessageType, RecordDict

from fl.util.errors import FederationError
from server.baselines.concurrent_trainings import run_concurrently
from server.engines.in_process import LocalGrid


class Count:
    """A training of `rounds` batches of `each` requests; its work is the batches it has left."""

    def __init__(self, name, rounds, each=1, stops_at=None):
        self.name, self.rounds, self.each, self.stops_at = name, rounds, each, stops_at
        self.done, self.got = 0, []

    def left(self):
        return self.rounds - self.done

    def steps(self):
        while self.done < self.rounds:
            if self.done == self.stops_at:
                raise FederationError(f"{self.name} stops")
            answers = yield [self._request() for _ in range(self.each)]
            self.got.append([reply.content["config"]["name"] for reply, _ in answers])
            self.done += 1

    def _request(self):
        content = RecordDict({"config": ConfigRecord({"name": self.name})})
        return Message(content, 1001, MessageType.QUERY)


class Log(LocalGrid):
    """A grid that keeps who was asked, and how many requests were out at most."""

    def __init__(self):
        super().__init__(lambda message, _: Message(message.content, reply_to=message), 1)
        self.asked, self.most = [], 0

    def submit(self, message):
        super().submit(message)
        self.asked.append(message.content["config"]["name"])
        self.most = max(self.most, len(self._queue))


@pytest.mark.parametrize("width", [1, 2, 5])
def test_every_training_gets_its_own_answers_and_no_more_requests_are_out_than_workers(width):
    grid, trainings = Log(), [Count("a", 3), Count("b", 1, each=3), Count("c", 0)]
    assert run_concurrently(grid, trainings, width, timeout=10) == {}
    assert [training.got for training in trainings] == [[["a"]] * 3, [["b"] * 3], []]
    assert grid.most <= width


def test_the_training_with_the_most_left_goes_first():
    grid = Log()
    run_concurrently(grid, [Count("short", 1), Count("long", 3), Count("middle", 2)], 1, 10)
    assert grid.asked[:2] == ["long", "long"]
    assert sorted(grid.asked) == ["long"] * 3 + ["middle"] * 2 + ["short"]


def test_a_training_that_stops_is_named_and_the_others_go_on():
    trainings = [Count("a", 3, stops_at=1), Count("b", 2), Count("c", 1, stops_at=0)]
    failed = run_concurrently(Log(), trainings, 2, timeout=10)
    assert failed == {"a": "a stops", "c": "c stops"}
    assert trainings[1].done == 2


def test_an_answer_that_does_not_come_is_an_error_for_its_training():
    class Silent(Log):
        def pull_messages(self, message_ids):
            return []

    class Waits(Count):
        def steps(self):
            ((reply, _),) = yield [self._request()]
            self.got.append(reply.error.reason)

    training, grid = Waits("a", 1), Silent()
    assert run_concurrently(grid, [training], 1, timeout=0.05) == {}
    assert training.got == ["TimeoutError: no answer within 0.05 s"]
    assert not grid._queue
