"""A hospital's SuperNode: when it ends, and what its end means."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
from flwr.supercore.constant import TaskType
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supernode.nodestate import NodeStateFactory

from clients.deploy import supernode_internals
from clients.deploy.__main__ import NODE_LAPSE, SiteFolder, check_admission
from fl.util.errors import ConfigError

# As Flower says it; the first line stands in the output of every SuperNode.
STARTS = "EXPERIMENTAL: SuperExec authentication is experimental and may change in future releases."
REFUSES = "[code: 2004] Failed to activate SuperNode."


@pytest.fixture
def home(tmp_path):
    return SiteFolder(tmp_path, "a")


def ended(status, *lines):
    return SimpleNamespace(ended=status, last=[STARTS, *lines])


def test_a_key_that_was_never_let_in_is_refused_at_once(home):
    with pytest.raises(ConfigError, match="does not admit this key"):
        check_admission(ended(1, REFUSES), home, connected=False, waited=5)


def test_a_site_that_was_connected_waits_for_its_last_connection_to_lapse(home):
    home.admitted.touch()
    check_admission(ended(1, REFUSES), home, connected=False, waited=5)
    with pytest.raises(ConfigError, match="in use by another `join`"):
        check_admission(ended(1, REFUSES), home, connected=False, waited=NODE_LAPSE)


def test_a_key_revoked_while_connected_is_refused_when_it_next_asks(home):
    home.admitted.touch()
    check_admission(ended(0), home, connected=True, waited=0)
    with pytest.raises(ConfigError, match="does not admit this key"):
        check_admission(ended(1, REFUSES), home, connected=False, waited=5)


def test_a_signature_that_is_never_accepted_is_the_clocks(home):
    with pytest.raises(ConfigError, match="Is the clock"):
        check_admission(ended(0), home, connected=False, waited=5)


@pytest.mark.parametrize("output", ["address already in use", "401", ""])
def test_another_end_says_nothing_of_the_key(home, output):
    check_admission(ended(1, output), home, connected=False, waited=5)


@pytest.mark.parametrize(
    ("how", "status"),
    [("sys.exit(0)", 0), ("sys.exit(1)", 1), ("raise KeyboardInterrupt", 0), ("1 / 0", 1), ("", 1)],
)
def test_a_supernode_ends_with_its_main_thread_whatever_other_thread_goes_on(how, status):
    code = f"""
import sys, threading
from clients.deploy import supernode_internals as supernode
from fl.util.child_process import exit_immediately
def flower():
    threading.Thread(target=threading.Event().wait).start()
    {how}
supernode.flower_supernode = flower
exit_immediately(supernode.main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == status
    assert ("ZeroDivisionError" in done.stderr) == (how == "1 / 0")


@pytest.mark.parametrize("run", [None, 7])
@pytest.mark.parametrize("tasks", [0, 1])
def test_a_message_that_arrives_in_part_ends_the_supernode(monkeypatch, run, tasks):
    state = NodeStateFactory(ObjectStoreFactory()).state()

    def flower(*, state):
        for _ in range(tasks):
            state.create_task(task_type=TaskType.CLIENT_APP, run_id=7, fab_hash="x")
        return run

    flower(state=state)  # a task that was there before says nothing
    monkeypatch.setattr(supernode_internals, "_pull", flower)
    if run is None and tasks:
        with pytest.raises(supernode_internals.IncompleteMessage):
            supernode_internals.pull(state=state)
    else:
        assert supernode_internals.pull(state=state) == run
