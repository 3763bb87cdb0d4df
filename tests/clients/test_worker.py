"""A hospital's worker does not wait for ever for a message whose sender is gone."""

import pytest
from flwr.proto.message_pb2 import PullObjectRequest, PullObjectResponse
from flwr.supercore.inflatable.inflatable_utils import ObjectPullError
from flwr.supercore.runtime import RuntimeHttpClient

from clients import worker


@pytest.fixture
def arriving(monkeypatch):
    """A client whose parts arrive as the list says, at the times that the clock says."""
    clock, parts = [0.0], []

    def pull(self, request):
        return PullObjectResponse(object_found=True, object_available=parts.pop(0))

    monkeypatch.setattr(RuntimeHttpClient, "PullObject", pull)
    monkeypatch.setattr(worker.time, "monotonic", lambda: clock[0])
    return object.__new__(worker.Arriving), clock, parts


def ask(client):
    return client.PullObject(PullObjectRequest(object_id="x"))


def test_parts_that_arrive_slowly_are_waited_for(arriving):
    client, clock, parts = arriving
    for _ in range(5):
        parts += [False, True]
        clock[0] += worker.PATIENCE - 1
        ask(client)
        assert ask(client).object_available


def test_a_message_of_which_nothing_more_arrives_is_given_up(arriving):
    client, clock, parts = arriving
    parts += [False, False, False]
    ask(client)
    clock[0] += worker.PATIENCE
    ask(client)
    clock[0] += 1
    with pytest.raises(ObjectPullError, match="nothing arrived for 30 s"):
        ask(client)
