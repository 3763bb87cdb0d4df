"""How sites are found and asked, and how those that fail or are silent are named."""

from types import SimpleNamespace

import pytest
from flwr.app import Error, Message, RecordDict
from support.prepared_sites import PreparedSites, federation_of, prepared_job
from support.rounds import Watching, run

from fl.messages.flower_codec import site_info_request
from fl.util.errors import FederationError
from partitions.splits import TEST, VAL
from server.engines.in_process import LocalGrid
from server.rounds import site_requests
from server.rounds.site_requests import TRAINING, SiteRequest, discover_sites, send_requests

SITES = ["site-1", "site-2", "site-3"]


class Noting(Watching):
    """A listener that keeps all that it hears of the sites."""

    def __init__(self):
        super().__init__()
        self.heard = []

    def site(self, *heard):
        self.heard.append(heard)


class Backwards(LocalGrid):
    """Nodes are named in the opposite order."""

    def get_node_ids(self):
        return list(super().get_node_ids())[::-1]


class Silent(LocalGrid):
    """The second node never answers."""

    def pull_messages(self, message_ids):
        self._queue = type(self._queue)(m for m in self._queue if m.metadata.dst_node_id != 1002)
        return super().pull_messages(message_ids)


def discovered(job, client=None, grid=LocalGrid):
    return discover_sites(grid(client or PreparedSites(), job.config.clients), job, Watching())


def test_sites_are_in_order_of_name_whatever_the_order_of_their_nodes(tmp_path):
    federation = discovered(prepared_job(tmp_path), PreparedSites((4, 5, 6)), Backwards)
    assert list(federation.sites) == SITES
    assert dict(federation.nodes) == {"site-1": 1001, "site-2": 1002, "site-3": 1003}
    assert [info.n_train for info in federation.sites.values()] == [4, 5, 6]


def test_a_silent_site_stops_the_run_before_it_begins(tmp_path):
    job = prepared_job(tmp_path, timeout=0.2)
    with pytest.raises(FederationError, match=r"1 of 3 sites did not answer within 0.2 s"):
        discovered(job, grid=Silent)
    named = job.model_copy(update={"nodes": {"leeds": 1001, "york": 1002, "hull": 1003}})
    with pytest.raises(FederationError, match=r"1 of 3 sites \(york\) did not answer"):
        discovered(named, grid=Silent)


def test_a_site_that_cannot_start_is_named(tmp_path):
    def client(message, context):
        if context.node_config["partition-id"] == 1:
            raise OSError("no such folder")
        return PreparedSites()(message, context)

    job = prepared_job(tmp_path)
    with pytest.raises(FederationError, match=r"^A site could not start: .*no such folder"):
        discovered(job, client)
    named = job.model_copy(update={"nodes": {"leeds": 1001, "york": 1002, "hull": 1003}})
    with pytest.raises(FederationError, match=r"^york could not start"):
        discovered(named, client)


def test_each_node_may_speak_for_its_own_site_alone(tmp_path):
    job = prepared_job(tmp_path)
    own = {site: 1001 + i for i, site in enumerate(SITES)}
    assert list(discovered(job.model_copy(update={"nodes": own})).sites) == SITES
    swapped = own | {"site-1": 1002, "site-2": 1001}
    reason = "site-2: its first answer is refused: it calls itself 'site-1', for which its key"
    with pytest.raises(FederationError, match=reason):
        discovered(job.model_copy(update={"nodes": swapped}))


def joining(monkeypatch, tmp_path, counts):
    """How often a run that expects three sites looked for them, ten seconds apart, until 20 s."""
    now, looks = [0.0], []

    def node_ids():
        looks.append(now[0])
        assert len(looks) < 10, "it goes on for ever"
        return range(counts[min(len(looks), len(counts)) - 1])

    def sleep(seconds):
        assert seconds > 0
        now[0] += 10.0

    monkeypatch.setattr(
        site_requests, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep)
    )
    job, grid = prepared_job(tmp_path, timeout=20.0), SimpleNamespace(get_node_ids=node_ids)
    try:
        return looks, site_requests._all_nodes(grid, job)
    except FederationError as error:
        return looks, str(error)


def test_sites_may_join_until_the_time_is_over(monkeypatch, tmp_path):
    assert joining(monkeypatch, tmp_path, [3]) == ([0.0], [0, 1, 2])
    looks, nodes = joining(monkeypatch, tmp_path, [0, 1, 3])
    assert (looks, nodes) == ([0.0, 10.0, 20.0], [0, 1, 2])
    looks, message = joining(monkeypatch, tmp_path, [0, 2])
    assert looks == [0.0, 10.0, 20.0, 30.0]
    assert message.startswith("2 of 3 sites joined within 20 s.")


def asked(tmp_path, client, read=lambda site, reply: None, grid=LocalGrid, doing=TRAINING):
    """What was heard of the sites and which failed, after one request of round 7 to each."""
    noting, job = Noting(), prepared_job(tmp_path, timeout=0.5)
    federation = federation_of(job, PreparedSites(), noting)
    federation = type(federation)(
        grid=grid(client, 3),
        job=job,
        nodes=federation.nodes,
        sites=federation.sites,
        listener=noting,
    )
    requests = {
        site: SiteRequest(
            request=site_info_request(job, federation.nodes[site]),
            round_number=7,
            doing=doing,
            read=read,
        )
        for site in reversed(SITES)
    }
    failures = send_requests(federation, requests)
    assert {f["round"] for f in failures} <= {7}
    return noting.heard, {f["site"]: f["reason"] for f in failures}


def test_replies_are_read_once_in_the_order_of_the_requests_and_then_emptied(tmp_path):
    read = []
    client = PreparedSites()

    def note(site, reply):
        assert reply.content
        read.append((site, reply))

    heard, failed = asked(tmp_path, client, note)
    assert failed == {}
    assert [site for site, _ in read] == SITES[::-1]
    assert not any(reply.content for _, reply in read)
    assert heard == [(7, site, TRAINING, "") for site in SITES[::-1]]


def test_a_site_that_fails_is_named_with_its_reason_or_without(tmp_path):
    def client(message, context):
        place = context.node_config["partition-id"]
        if place == 0:
            raise OSError("disk on fire")
        if place == 1:
            return Message(Error(0), reply_to=message)
        return Message(RecordDict(), reply_to=message)

    heard, failed = asked(tmp_path, client)
    assert failed == {"site-1": "train: OSError: disk on fire", "site-2": "train: failed"}
    assert heard == [
        (7, "site-3", TRAINING, ""),
        (7, "site-2", TRAINING, "failed"),
        (7, "site-1", TRAINING, "OSError: disk on fire"),
        *[(7, site, "failed", failed[site]) for site in ("site-1", "site-2")],
    ]


@pytest.mark.parametrize(
    ("doing", "name"), [(TRAINING, "update"), (VAL, "evaluation"), (TEST, "evaluation")]
)
@pytest.mark.parametrize("error", [ValueError, KeyError, TypeError])
def test_a_reply_that_cannot_be_read_is_refused(tmp_path, doing, name, error):
    def read(site, reply):
        if site == "site-2":
            raise error("odd")

    heard, failed = asked(tmp_path, PreparedSites(), read, doing=doing)
    (site,) = failed
    assert site == "site-2"
    assert failed[site].startswith(f"its {name} is refused: ")
    assert heard[-1] == (7, "site-2", "failed", failed[site])


@pytest.mark.parametrize("error", [ZeroDivisionError, OverflowError, RecursionError, OSError])
def test_whatever_a_reply_does_to_its_reader_costs_its_own_site_alone(tmp_path, error):
    def read(site, reply):
        if site == "site-2":
            raise error("odd")

    _, failed = asked(tmp_path, PreparedSites(), read)
    assert failed == {"site-2": f"its update is refused: it cannot be read ({error.__name__}: odd)"}


def test_a_server_without_memory_stops(tmp_path):
    def read(site, reply):
        raise MemoryError

    with pytest.raises(MemoryError):
        asked(tmp_path, PreparedSites(), read)


def test_in_a_deployment_a_site_that_cannot_start_or_is_silent_is_left_out(tmp_path):
    def client(message, context):
        if context.node_config["partition-id"] == 0:
            raise OSError("no such folder")
        return PreparedSites()(message, context)

    job = prepared_job(tmp_path, timeout=0.3, quorum=0.3)
    own = {site: 1001 + i for i, site in enumerate(SITES)}
    found = discovered(job.model_copy(update={"run": "r", "nodes": own}), client, Silent)
    assert list(found.sites) == ["site-3"]
    assert {f["site"]: f["reason"] for f in found.refused} == {
        "site-1": "OSError: no such folder",
        "site-2": "no answer within 0.3 s",
    }


def test_a_silent_site_is_named_when_its_time_is_over(tmp_path):
    heard, failed = asked(tmp_path, PreparedSites(), grid=Silent)
    assert failed == {"site-2": "train: no answer within 0.5 s"}
    assert heard[-1] == (7, "site-2", "failed", failed["site-2"])


def test_a_site_that_cannot_start_stops_the_run(make_job):
    def client(message, context):
        raise OSError("no such folder")

    with pytest.raises(FederationError, match="no such folder"):
        run(make_job(2), client)


class LateGrid(LocalGrid):
    """Sites join one by one, after the server has begun to ask."""

    joined = 0

    def get_node_ids(self):
        self.joined += 1
        return super().get_node_ids()[: self.joined - 1]


def test_a_run_waits_for_sites_that_join_late(make_job):
    watching, _ = run(make_job(3), grid=LateGrid)
    assert [row.participants for row in watching.rows] == [3, 3]


def test_sites_that_never_join_are_waited_for_no_longer_than_the_timeout(make_job):
    class Empty(LocalGrid):
        def get_node_ids(self):
            return []

    with pytest.raises(FederationError, match="0 of 2 sites joined within"):
        run(make_job(2, timeout=0.2), grid=Empty)
