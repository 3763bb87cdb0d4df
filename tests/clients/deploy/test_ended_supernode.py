"""A SuperNode that was killed: its request is broken off, and the coordinator hears of its end."""

import os
import subprocess
import threading
import time
from types import SimpleNamespace

import pytest
from support.sites import joined

from clients.deploy import resident_supernode, supernode_internals
from clients.deploy.health import left_behind, note_at_work
from clients.deploy.joined_site import NOT_ADMITTED
from clients.deploy.resident_supernode import InterruptibleWork, ResidentSuperNode, answer_requests


@pytest.fixture
def site(tmp_path):
    return joined(tmp_path)


@pytest.fixture
def leaves(monkeypatch):
    """Nodes for which leave was taken."""
    taken = []
    monkeypatch.setattr(supernode_internals, "take_leave", lambda site, node: taken.append(node))
    monkeypatch.setattr(resident_supernode, "LOOK", 0.01)
    return taken


def test_work_for_a_supernode_that_ended_is_broken_off_at_once():
    work, done = InterruptibleWork(), []

    def train():
        threading.Timer(0.2, work.interrupt).start()
        try:
            for _ in range(1000):
                time.sleep(0.01)
            done.append("trained")
        except Exception:  # as code does that answers any failure
            done.append("answered")

    began = time.monotonic()
    work.do(train)
    assert time.monotonic() - began < 5
    assert done == []
    work.do(lambda: done.append("next"))
    assert done == ["next"]


def test_nothing_is_broken_off_between_two_requests():
    work, done = InterruptibleWork(), []
    work.interrupt()
    work.do(lambda: done.append(1))
    work.interrupt()
    time.sleep(0.05)
    assert done == [1]


def test_an_earlier_supernodes_end_does_not_break_off_the_work_for_the_next():
    earlier = InterruptibleWork()
    earlier._at_work = True  # it ended in the middle
    later, done = InterruptibleWork(), []

    def train():
        earlier.interrupt()
        time.sleep(0.05)
        done.append("trained")

    later.do(train)
    assert done == ["trained"]


def test_the_site_looks_for_the_next_supernode_when_one_ends_in_mid_request():
    arrived, node, work = threading.Event(), SimpleNamespace(ended=None), InterruptibleWork()
    arrived.set()

    def take():
        def kill():
            node.ended = -9
            work.interrupt()

        threading.Timer(0.2, kill).start()
        time.sleep(30)

    began = time.monotonic()
    assert answer_requests(SimpleNamespace(take=take), node, arrived, work) == -9
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("status", "taken"), [(-9, [7]), (1, [7]), (137, [7]), (0, []), (NOT_ADMITTED, [])]
)
def test_leave_is_taken_for_a_supernode_that_could_not(site, leaves, status, taken):
    supernode = ResidentSuperNode(site)
    supernode._node = 7
    supernode._watch(SimpleNamespace(ended=status), InterruptibleWork())
    assert leaves == taken
    supernode._take_leave()  # once
    assert leaves == taken


def test_a_coordinator_that_is_away_does_not_end_the_site(site, monkeypatch, caplog):
    def away(site, node):
        raise OSError("away")

    monkeypatch.setattr(supernode_internals, "take_leave", away)
    caplog.set_level("INFO")
    supernode = ResidentSuperNode(site)
    supernode._node = 7
    supernode._take_leave()
    assert "was not asked to forget the SuperNode: away" in caplog.text


def gone():
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_supernode_is_left_behind_where_its_sites_process_is_gone(site, monkeypatch):
    assert left_behind(site.folder) is None
    note_at_work(site.folder, 1, 2**63 + 5)
    text = site.folder.state.read_text()
    # In a container the same number, of an earlier process: this one has only begun.
    assert left_behind(site.folder) == 2**63 + 5
    for process, node in ((gone(), 2**63 + 5), (os.getppid(), None), (2**70, 2**63 + 5)):
        site.folder.state.write_text(text.replace(f"{os.getpid()}", f"{process}"))
        assert left_behind(site.folder) == node
    note_at_work(site.folder, 1)
    assert left_behind(site.folder) is None
    site.folder.state.write_text("{}")
    assert left_behind(site.folder) is None


def test_a_site_that_starts_again_takes_leave_for_the_one_before(site, leaves, monkeypatch):
    note_at_work(site.folder, 1, 7)
    supernode = ResidentSuperNode(site)
    monkeypatch.setattr(resident_supernode, "check_admission", lambda *given: None)
    monkeypatch.setattr(supernode, "_serve", lambda connected: 0)
    supernode.run()
    supernode.run()
    assert leaves == [7]


def test_flower_has_what_taking_leave_needs(site, monkeypatch):
    """The names are there, and the request is signed with the site's key."""
    from flwr.supernode.fleet_http_client import FleetHttpClient

    from clients.deploy.keys import ensure_key
    from server.deploy.certificates import make_authority

    ensure_key(site.folder)
    make_authority(site.folder.ca, site.folder.path / "ca.key", "f")
    sent = []

    def deactivate(self, request):
        sent.append((self._base_url, request.node_id, self._interceptors[-1]._private_key))

    monkeypatch.setattr(FleetHttpClient, "DeactivateNode", deactivate)
    supernode_internals.take_leave(site, 7)
    ((url, node, key),) = sent
    assert (url, node) == ("https://coordinator.example.org:8443", 7)
    assert key.key_size == 384
