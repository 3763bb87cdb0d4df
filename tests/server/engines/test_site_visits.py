"""What a worker does in one call: work that several sites share is done once, and timed."""

import contextlib
import time

import pytest
from flwr.app import Context, Message, MessageType, RecordDict, UserConfig

from server.engines.in_process import LocalGrid
from server.engines.site_visits import make_visits

SHARED = 0.06  # seconds


class Sharing:
    """A client that does something once for all of a call's requests."""

    def __init__(self, fails=()):
        self.fails, self.entered, self.inside = fails, [], False

    @contextlib.contextmanager
    def sharing(self, messages, contexts):
        self.entered.append(len(messages))
        time.sleep(SHARED)
        self.inside = True
        try:
            yield
        finally:
            self.inside = False

    def __call__(self, message, context):
        if context.node_id in self.fails:
            raise OSError("disk on fire")
        return Message(RecordDict(), reply_to=message)


@pytest.fixture
def call():
    """A function that lets a client answer requests to so many nodes in one call."""

    def visit(client, n):
        LocalGrid(client, n)  # without a grid no message can be made
        nodes = range(1001, 1001 + n)
        messages = [Message(RecordDict(), node, MessageType.QUERY) for node in nodes]
        contexts = [
            Context(
                run_id=1,
                node_id=node,
                node_config=UserConfig(),
                state=RecordDict(),
                run_config=UserConfig(),
            )
            for node in nodes
        ]
        return make_visits(client, messages, contexts, [])

    return visit


def test_shared_work_is_done_once_and_each_site_is_charged_its_part(call):
    client = Sharing()
    visits = call(client, 3)
    assert client.entered == [3]
    assert not client.inside
    assert len(visits.replies) == 3
    assert all(seconds >= SHARED / 3 for seconds in visits.seconds.values())
    assert sum(visits.seconds.values()) >= SHARED


def test_a_single_request_shares_nothing(call):
    client = Sharing()
    call(client, 1)
    assert client.entered == []


def test_a_client_without_shared_work_is_asked_as_ever(call):
    assert (
        len(call(lambda message, context: Message(RecordDict(), reply_to=message), 2).replies) == 2
    )


def test_an_error_at_one_site_is_its_own_where_work_is_shared(call):
    client = Sharing(fails=(1002,))
    failed = [reply.has_error() for reply in call(client, 3).replies]
    assert failed == [False, True, False]
    assert not client.inside
