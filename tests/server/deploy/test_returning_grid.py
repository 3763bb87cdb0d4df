"""A site whose SuperNode went away while it was asked is asked again once it is back."""

from types import SimpleNamespace

import pytest
from flwr.app import Error, Message
from support.prepared_sites import PreparedSites, prepared_job
from support.rounds import Watching, digest, run

from fl.messages.flower_arrays import packed, unpacked
from fl.messages.flower_codec import CLIENT_FAILED, site_info_request
from fl.util.errors import FederationError
from server.deploy.grids import returning_grid as module
from server.deploy.grids.returning_grid import ABSENT, GONE, LOST, RETURN, ReturningGrid
from server.engines.grid_base import BaseGrid
from server.engines.grid_internals import identify_server
from server.engines.in_process import LocalGrid
from server.engines.numbered_message import NumberedMessage
from server.rounds.site_requests import discover_sites

NODE, LOOK, TTL = 1002, 5.0, 600.0


def instead_of_the_site(number):
    """What a SuperLink answers for a node that is away."""
    return SimpleNamespace(
        metadata=SimpleNamespace(src_node_id=1, reply_to_message_id=number),
        has_error=lambda: True,
        error=Error(3, "Node Unavailable"),
    )


class SuperLink(BaseGrid):
    """A grid of one node, which is connected or not, and a clock that is set by hand."""

    def __init__(self):
        identify_server()
        self.time, self.connected, self.sent, self.replies = 100.0, True, [], []
        self.asked_for, self.started = [], 0.0

    run = None

    def set_run(self, run):
        raise AssertionError("a run is set before")

    def send_and_receive(self, messages, *, timeout=None):
        raise AssertionError("requests are pushed and replies pulled")

    def get_node_ids(self):
        return [NODE] if self.connected else []

    def push_messages(self, messages):
        for message in messages:
            self.sent.append(NumberedMessage(message, f"n{len(self.sent)}"))
        return [f"n{len(self.sent) - 1}"]

    def pull_messages(self, message_ids):
        self.asked_for = list(message_ids)
        if not self.connected:
            return [instead_of_the_site(number) for number in self.asked_for]
        found = [r for r in self.replies if r.metadata.reply_to_message_id in self.asked_for]
        self.replies = []
        return found

    def answer(self, at=-1, error=None):
        """The node replies to what it was sent."""
        request = self.sent[at]
        content = error or request.content
        self.replies.append(Message(content, reply_to=request))


@pytest.fixture
def superlink():
    return SuperLink()


@pytest.fixture
def grid(superlink):
    """The grid around it."""

    def activated():
        if isinstance(superlink.started, Exception):
            raise superlink.started
        return {NODE: superlink.started}

    return ReturningGrid(
        superlink, activated, LOOK, clock=lambda: superlink.time, now=lambda: superlink.time
    )


def ask(grid, tmp_path):
    request = site_info_request(prepared_job(tmp_path), NODE)
    request.metadata.ttl = TTL
    (number,) = grid.push_messages([request])
    return number


def only(grid, number):
    """The one reply there is."""
    (reply,) = grid.pull_messages([number])
    assert reply.metadata.reply_to_message_id == number
    assert reply.metadata.src_node_id == NODE
    return reply


def test_a_site_that_stays_is_asked_once(grid, superlink, tmp_path):
    number = ask(grid, tmp_path)
    assert grid.pull_messages([number]) == []
    superlink.answer()
    assert only(grid, number).has_content()
    assert len(superlink.sent) == 1


def test_a_site_that_comes_back_in_time_is_asked_again_for_the_same(grid, superlink, tmp_path):
    number = ask(grid, tmp_path)
    superlink.connected = False
    superlink.time += 7
    assert grid.pull_messages([number]) == []
    superlink.time += RETURN - 1
    assert grid.pull_messages([number]) == []
    superlink.connected = True
    assert grid.pull_messages([number]) == []
    first, again = superlink.sent
    assert again.content == first.content
    for name in ("dst_node_id", "message_type", "group_id"):
        assert getattr(again.metadata, name) == getattr(first.metadata, name)
    assert again.metadata.ttl == TTL - 7 - RETURN + 1
    superlink.answer()
    assert only(grid, number).content == first.content
    assert superlink.asked_for == ["n1"]  # what was asked first is forgotten


def test_a_site_that_stays_away_costs_half_a_minute_and_is_named_with_the_reason(
    grid, superlink, tmp_path
):
    number = ask(grid, tmp_path)
    superlink.connected = False
    assert grid.pull_messages([number]) == []
    superlink.time += RETURN
    assert grid.pull_messages([number]) == []
    superlink.time += 1
    assert only(grid, number).error.reason == GONE
    assert f"{RETURN:g} s" in GONE


def test_a_site_that_is_not_connected_when_it_is_asked_is_not_waited_for(grid, superlink, tmp_path):
    superlink.connected = False
    number = ask(grid, tmp_path)
    assert only(grid, number).error.reason == ABSENT


def test_a_supernode_that_was_away_too_shortly_to_be_noticed_is_found(grid, superlink, tmp_path):
    number = ask(grid, tmp_path)
    superlink.time += 2
    superlink.started = superlink.time  # killed, and back, between two looks
    assert grid.pull_messages([number]) == []
    assert len(superlink.sent) == 1
    superlink.time += LOOK
    assert grid.pull_messages([number]) == []
    assert len(superlink.sent) == 2
    superlink.time += LOOK
    assert grid.pull_messages([number]) == []
    assert len(superlink.sent) == 2
    superlink.answer(at=0)  # the first request had waited for the new SuperNode
    assert only(grid, number).has_content()


def test_a_supernode_that_started_before_it_was_asked_is_not_asked_again(grid, superlink, tmp_path):
    superlink.started = superlink.time
    number = ask(grid, tmp_path)
    superlink.time += 2 * LOOK
    assert grid.pull_messages([number]) == []
    assert len(superlink.sent) == 1


def test_a_request_that_ends_every_supernode_is_given_up(grid, superlink, tmp_path):
    number = ask(grid, tmp_path)
    for _ in range(module.MOST_AGAIN):
        superlink.connected = False
        assert grid.pull_messages([number]) == []
        superlink.connected = True
        assert grid.pull_messages([number]) == []
    superlink.connected = False
    assert only(grid, number).error.reason == LOST
    assert len(superlink.sent) == 1 + module.MOST_AGAIN


def test_restarts_that_are_only_found_by_the_time_are_given_up_as_well(grid, superlink, tmp_path):
    number = ask(grid, tmp_path)
    replies = []
    while not replies:
        superlink.time += LOOK
        superlink.started = superlink.time
        superlink.time += 0.1
        assert len(superlink.sent) <= 1 + module.MOST_AGAIN
        replies = grid.pull_messages([number])
    assert replies[0].error.reason == LOST


def test_a_superlink_that_cannot_be_asked_ends_nothing(grid, superlink, tmp_path, caplog):
    number = ask(grid, tmp_path)
    superlink.started = FederationError("away")
    superlink.time += LOOK
    assert grid.pull_messages([number]) == []
    assert "was not asked: away" in caplog.text
    superlink.answer()
    assert only(grid, number).has_content()


def test_a_failure_that_the_site_reports_itself_is_its_answer(grid, superlink, tmp_path):
    number = ask(grid, tmp_path)
    superlink.answer(error=Error(CLIENT_FAILED, "disk on fire"))
    assert only(grid, number).error.reason == "disk on fire"
    assert len(superlink.sent) == 1


class Leaving(LocalGrid):
    """The second of three nodes loses its first request of the kind `lost`, once."""

    lost, back = "train", True

    def __init__(self, client, n):
        super().__init__(client, n)
        self.gone = None

    def get_node_ids(self):
        self.gone = False if self.gone and self.back else self.gone
        return [n for n in self.contexts if not (self.gone and n == NODE)]

    def pull_messages(self, message_ids):
        first = self._queue[0] if self._queue else None
        if first is None or first.metadata.dst_node_id != NODE or self.gone is False:
            return super().pull_messages(message_ids)
        if self.gone is None and first.metadata.message_type != self.lost:
            return super().pull_messages(message_ids)
        self._queue.popleft()
        self.gone = True
        return [instead_of_the_site(first.metadata.message_id)]


def returning(grid):
    return lambda client, n: ReturningGrid(grid(client, n), dict, LOOK)


@pytest.mark.parametrize("lost", ["train", "evaluate", "query"])
def test_a_run_in_which_a_supernode_ended_has_the_weights_of_one_in_which_none_did(tmp_path, lost):
    job, other = prepared_job(tmp_path / "a"), prepared_job(tmp_path / "b")
    client = PreparedSites()
    watching, _ = run(job, client, returning(type("Lossy", (Leaving,), {"lost": lost})))
    assert watching.failed == []
    assert [row.participants for row in watching.rows] == [3, 3]
    run(other, PreparedSites())
    assert digest(job) == digest(other)


class Packing(Leaving):
    """What carries messages packs their arrays in place, and a site is sent them packed once."""

    def push_messages(self, messages):
        return super().push_messages([packed(message) for message in messages])


def test_a_request_that_was_packed_is_sent_again_as_it_was(tmp_path):
    job, other = prepared_job(tmp_path / "a"), prepared_job(tmp_path / "b")

    def client(message, context):
        return PreparedSites()(unpacked(message), context)

    watching, _ = run(job, client, returning(Packing))
    assert watching.failed == []
    run(other, PreparedSites())
    assert digest(job) == digest(other)


def test_the_round_names_a_site_that_does_not_come_back(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RETURN", 0.2)
    job = prepared_job(tmp_path, quorum=0.5)
    never = type("Never", (Leaving,), {"back": False})
    watching, _ = run(job, PreparedSites(), returning(never))
    assert watching.failed[0] == (1, "site-2", f"train: {GONE}")
    assert [row.participants for row in watching.rows] == [2, 2]
    # Later rounds ask, find it absent, and do not wait.
    assert {note for _, site, note in watching.failed[1:]} <= {
        *(f"{doing}: {ABSENT}" for doing in ("train", "val", "test"))
    }


def test_sites_are_found_though_one_was_started_again_meanwhile(tmp_path):
    grid = returning(type("Lossy", (Leaving,), {"lost": "query"}))(PreparedSites(), 3)
    federation = discover_sites(grid, prepared_job(tmp_path), Watching())
    assert list(federation.sites) == ["site-1", "site-2", "site-3"]
