"""Flower's SuperNode as our program: when it ends, what it reports, and what its end means."""

import contextlib
import importlib
import subprocess
import sys
from types import SimpleNamespace

import httpx
import pytest
from flwr.supercore.constant import TaskType
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supernode.nodestate import NodeStateFactory
from support.sites import joined

from clients.deploy import supernode_internals
from clients.deploy.joined_site import ARRIVED, CONNECTED, NODE_LAPSE, NOT_ADMITTED
from clients.deploy.resident_supernode import check_admission
from fl.util.errors import ConfigError


@pytest.fixture
def site(tmp_path):
    return joined(tmp_path)


def test_a_key_that_was_never_admitted_is_refused_at_once(site):
    with pytest.raises(ConfigError, match="does not admit this key"):
        check_admission(NOT_ADMITTED, site, connected=False, waited=5)


def test_a_site_that_was_connected_waits_for_its_last_connection_to_lapse(site):
    site.folder.admitted.touch()
    check_admission(NOT_ADMITTED, site, connected=False, waited=5)
    with pytest.raises(ConfigError, match="in use by another `join`"):
        check_admission(NOT_ADMITTED, site, connected=False, waited=NODE_LAPSE)


def test_a_key_revoked_while_connected_is_refused_when_it_next_asks(site):
    site.folder.admitted.touch()
    check_admission(0, site, connected=True, waited=0)
    with pytest.raises(ConfigError, match="does not admit this key"):
        check_admission(NOT_ADMITTED, site, connected=False, waited=5)


def test_a_signature_that_is_never_accepted_is_the_clocks(site):
    with pytest.raises(ConfigError, match="Is the clock"):
        check_admission(0, site, connected=False, waited=5)


@pytest.mark.parametrize("status", [1, -9, 137])
def test_another_end_means_nothing_about_the_key(site, status):
    check_admission(status, site, connected=False, waited=5)


@pytest.mark.parametrize(
    ("how", "status"),
    [("sys.exit(0)", 0), ("sys.exit(1)", 1), ("raise KeyboardInterrupt", 0), ("1 / 0", 1), ("", 1)],
)
def test_a_supernode_ends_with_its_main_thread_whatever_other_thread_goes_on(how, status):
    code = f"""
import importlib, sys, threading
from clients.deploy import supernode_internals
from fl.util.child_process import exit_immediately
def flower():
    threading.Thread(target=threading.Event().wait).start()
    {how}
importlib.import_module("flwr.supernode.cli.flower_supernode").flower_supernode = flower
exit_immediately(supernode_internals.main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == status
    assert ("ZeroDivisionError" in done.stderr) == (how == "1 / 0")


def refusal(status, text):
    """The error with which Flower's client meets an answer of the SuperLink."""
    request = httpx.Request("POST", "https://coordinator")
    answer = httpx.Response(status, request=request, text=text)
    return httpx.HTTPStatusError("refused", request=request, response=answer)


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (refusal(412, '{"code": 2004, "detail": "Failed to activate SuperNode."}'), True),
        (refusal(400, '{"code": 2003, "detail": "Invalid heartbeat interval."}'), False),
        (refusal(500, "Internal Server Error"), False),
        (httpx.ConnectError("away"), False),
        (None, False),
    ],
)
def test_a_refused_key_is_known_by_the_number_of_flowers_error(error, refused):
    assert supernode_internals.is_refusal(error) == refused


def test_a_refused_key_has_an_exit_status_of_its_own(monkeypatch):
    error = refusal(412, '{"code": 2004, "detail": "Failed to activate SuperNode."}')

    def flower():
        try:
            raise error
        except httpx.HTTPStatusError:
            sys.exit(1)  # as Flower does while it handles the error

    module = importlib.import_module("flwr.supernode.cli.flower_supernode")
    monkeypatch.setattr(module, "flower_supernode", flower)
    monkeypatch.setattr(supernode_internals, "replace_steps", lambda loop: None)
    assert supernode_internals.main() == NOT_ADMITTED


@pytest.mark.parametrize("run", [None, 7])
@pytest.mark.parametrize("tasks", [0, 1])
def test_a_message_that_arrives_in_part_ends_the_supernode(capsys, run, tasks):
    state = NodeStateFactory(ObjectStoreFactory()).state()

    def flower(*, state):
        for _ in range(tasks):
            state.create_task(task_type=TaskType.CLIENT_APP, run_id=7, fab_hash="x")
        return run

    flower(state=state)  # a task that existed before means nothing
    pull = supernode_internals.reporting_pull(flower)
    if run is None and tasks:
        with pytest.raises(supernode_internals.IncompleteMessage):
            pull(state=state)
    else:
        assert pull(state=state) == run
    assert capsys.readouterr().out == (f"{ARRIVED}\n" if run else "")


def test_a_connection_is_reported_once_it_is_made(capsys):
    made = []

    @contextlib.contextmanager
    def connect(address):
        assert capsys.readouterr().out == ""
        yield made.append(address) or (7, "receive")

    with supernode_internals.reporting_connection(connect)("here") as connection:
        assert (connection, made) == ((7, "receive"), ["here"])
        assert capsys.readouterr().out == f"{CONNECTED}7\n"


def test_flowers_main_loop_has_the_steps_that_are_replaced():
    from flwr.supernode import start_client_internal

    loop = SimpleNamespace(**vars(start_client_internal))
    before = dict(vars(loop))
    supernode_internals.replace_steps(loop)
    changed = {name for name, value in vars(loop).items() if value is not before.get(name)}
    assert changed == {"_pull_and_store_message", "_init_connection", "time"} <= before.keys()
