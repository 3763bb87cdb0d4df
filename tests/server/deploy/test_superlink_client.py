"""Questions to the SuperLink by Flower's own command line, the way of untested versions."""

import datetime
import json
import socket
import subprocess
import sys

import pytest

from fl.util import tested_versions
from fl.util.errors import FederationError
from server.deploy import superlink_client
from server.deploy.federation_store import FederationSettings, NodeState, make_federation
from server.deploy.status import last_seen
from server.deploy.superlink_client import ask_flower, list_nodes, run_state, stop_run

NODE, RUN = 16971093532002348345, 2121215486355747199
# As Flower 1.41.0 and 1.42.0 print them with `--format json`.
NODES = {
    "success": True,
    "nodes": [
        {
            "node-id": f"{NODE}",
            "owner-name": "none",
            "status": "offline",
            "created-at": "2026-11-25 22:03:07Z",
            "online-at": "2026-11-25 22:05:00Z",
            "online-elapsed": 0.0,
            "offline-at": "2026-11-25 22:06:00Z",
            "deleted-at": "N/A",
        },
        {
            "node-id": "5",
            "owner-name": "none",
            "status": "registered",
            "created-at": "2026-11-25 22:03:07Z",
            "online-at": "N/A",
            "online-elapsed": 0.0,
            "offline-at": "N/A",
            "deleted-at": "N/A",
        },
    ],
}
RUNS = {"success": True, "runs": [{"run-id": f"{RUN}", "status": "running", "elapsed": 1.0}]}


@pytest.fixture
def folder(tmp_path):
    """A federation whose SuperLink listens, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings = FederationSettings(
            name="f",
            task="rhythm",
            hosts=("localhost",),
            listen="127.0.0.1",
            port=1,
            superlink_port=server.getsockname()[1],
        )
        yield make_federation(tmp_path / "federation", settings)


@pytest.fixture
def flower(monkeypatch, folder):
    """Flower's command line, which prints what is put into `answers`; and what it was asked."""
    monkeypatch.setenv(tested_versions.PUBLIC_ONLY, "1")
    asked, answers = [], {"supernode": NODES, "list": RUNS, "stop": {"success": True}}

    def run(command, **_):
        asked.append(command)
        answer = answers[command[1]]
        text = answer if isinstance(answer, str) else json.dumps(answer, indent=2)
        return subprocess.CompletedProcess(command, 0, stdout=f"Listing ...\n{text}\n", stderr="")

    monkeypatch.setattr(superlink_client.subprocess, "run", run)
    return asked, answers


def test_nodes_are_listed(folder, flower):
    found = list_nodes(folder)
    assert [(node.node, node.status, node.admitted) for node in found] == [
        (NODE, "offline", True),
        (5, "registered", True),
    ]
    admitted = datetime.datetime(2026, 11, 25, 22, 5, tzinfo=datetime.UTC).timestamp()
    assert [node.activated for node in found] == [admitted, 0.0]
    assert last_seen(found[0]) == "2026-11-25T22:06:00+00:00"
    assert last_seen(found[1]) == "never"
    assert flower[0] == [["flwr", "supernode", "list", "heartfed", "--format", "json"]]


def test_a_run_is_looked_up_by_its_number(folder, flower):
    assert run_state(folder, RUN) == "running"
    assert run_state(folder, RUN + 1) == "unknown"


@pytest.mark.parametrize(("status", "stopped"), [("running", True), ("finished:failed", False)])
def test_a_run_that_goes_on_is_stopped(folder, flower, status, stopped):
    asked, answers = flower
    answers["list"] = {"success": True, "runs": [{"run-id": f"{RUN}", "status": status}]}
    stop_run(folder, RUN)
    assert (["flwr", "stop", f"{RUN}", "heartfed", "--format", "json"] in asked) == stopped


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ({"success": False, "error-message": "[code: 23]\n\nno"}, "failed: [code: 23] no"),
        ("not JSON", "failed: Listing ... not JSON"),
        ("{", "failed: Listing ... {"),
    ],
)
def test_a_command_that_fails_is_reported_in_one_line(folder, flower, answer, wanted):
    flower[1]["list"] = answer
    with pytest.raises(FederationError) as failure:
        ask_flower(folder, "list", "heartfed")
    assert str(failure.value) == f"`flwr list heartfed` {wanted}"


def test_a_superlink_that_is_away_is_reported_before_flower_is_asked(flower, folder):
    text = (folder.path / "federation.toml").read_text()
    port = folder.settings().superlink_port
    text = text.replace(f"superlink_port = {port}", "superlink_port = 1")
    (folder.path / "federation.toml").write_text(text)
    with pytest.raises(FederationError, match="the SuperLink does not answer"):
        list_nodes(folder)
    assert flower[0] == []


def test_flower_knows_the_commands():
    """Flower's own program lists the flag that is given to it."""
    code = """
from flwr.cli.app import app
from typer.testing import CliRunner
for order in ("list", "register", "unregister"):
    done = CliRunner().invoke(app, ["supernode", order, "--help"])
    assert done.exit_code == 0 and "--format" in done.stdout, order
for order in ("list", "stop", "run"):
    done = CliRunner().invoke(app, [order, "--help"])
    assert done.exit_code == 0 and "--format" in done.stdout, order
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_another_version_of_flower_is_asked_by_its_command_line(monkeypatch, capsys):
    monkeypatch.setenv(tested_versions._REPORTED, "")
    for version, direct in (("1.41.0", True), ("1.42.0", False)):
        monkeypatch.setattr(tested_versions, "installed_version", lambda _, v=version: v)
        assert superlink_client.asks_directly() == direct
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_last_seen_is_the_last_sign_of_life():
    seen = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC).timestamp()
    node = NodeState(node=1, status="online", seen=seen)
    assert last_seen(node) == "now"
    node = NodeState(node=1, status="offline", seen=seen)
    assert last_seen(node) == "2026-01-02T00:00:00+00:00"
    assert last_seen(None) == "never"
