"""A SuperNode that is killed in mid-visit costs its round seconds, and no site."""

import csv
import re
import signal
import time

import psutil
import pytest
from support.federations import SITES, Federation, await_that, facts, synthetic_folders

# A whole deployment with three sites: about two minutes.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
VISIT = ("--model", "resnet1d", "--local-epochs", "20", "--batch-size", "4", "--rounds", "4")
TIMEOUT = 600.0
MOST = 60.0  # seconds that the end of a SuperNode may cost beyond a round; a lapse alone costs 60


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    """Three sites at work, on synthetic recordings."""
    base = tmp_path_factory.mktemp("killed")
    with Federation(base) as made:
        made.flags = synthetic_folders(base)
        # Everything here is on loopback, where a proxy has no part, of whatever kind.
        for name in ("HTTPS_PROXY", "http_proxy", "ALL_PROXY", "grpc_proxy"):
            made.env[name] = "socks5://127.0.0.1:9"
        made.env["NO_PROXY"] = made.env["no_proxy"] = "example.org"
        made.serve()
        made.admit_all()
        yield made


def supernode(federation, site):
    """The SuperNode that a site's `join` started."""
    children = psutil.Process(federation.processes[site].pid).children(recursive=True)
    (found,) = [one for one in children if "supernode" in " ".join(one.cmdline())]
    return found


def rounds(federation):
    path = federation.base / "runs" / "killed" / "rounds.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_supernode_killed_in_mid_visit_costs_its_round_seconds(federation):
    flags = (*VISIT, "--name", "killed", "--timeout", str(TIMEOUT))
    federation.start(
        "run", "server.deploy", "run", federation.folder, *flags, awaited="round   1/4"
    )
    log = federation.home(SITES[2]) / "logs" / "site.log"
    time.sleep(3)  # the sites train the third round's update
    before = log.read_text().count("heartfed: connected as node")
    killed, at = supernode(federation, SITES[2]), time.monotonic()
    killed.send_signal(signal.SIGKILL)
    await_that(lambda: log.read_text().count("heartfed: connected as node") > before, MOST)
    back = time.monotonic() - at
    process = federation.processes["run"]
    assert process.wait(TIMEOUT) == 0
    del federation.processes["run"]
    output = (federation.base / "run.log").read_text()
    assert "is left out" not in output
    found = rounds(federation)
    print([row["seconds"] for row in found], "back after", back)
    assert [row["participants"] for row in found] == ["3"] * 4
    seconds = sorted(float(row["seconds"]) for row in found)
    assert seconds[-1] - seconds[0] < MOST
    assert "a request is broken off: its SuperNode ended" in log.read_text()
    record = facts(federation.base / "runs" / "killed" / "run.json")
    assert (record["status"], record["failures"]) == ("completed", [])
    assert [row["site"] for row in record["sites"]] == list(SITES)
    assert all(row["train"] > 0 for row in record["sites"])


def test_a_run_whose_training_is_over_is_resumed_without_superlink_and_sites(federation):
    run = federation.base / "runs" / "killed"
    before = facts(run / "run.json")
    for path in [*(run / "report").rglob("*.html"), run / "summary.json", run / "rounds.csv"]:
        path.unlink()
    for name in [*SITES, "serve"]:
        federation.processes.pop(name).terminate()
    await_that(
        lambda: (
            re.search(
                "does not answer",
                federation.run("server.deploy", "status", federation.folder).stderr,
            )
            is not None
        ),
        60,
    )
    federation.do("server.deploy", "run", federation.folder, "--resume", run)
    after = facts(run / "run.json")
    assert after["sites"] == before["sites"]
    assert (after["status"], len(after["resumed"])) == ("completed", 1)
    assert (run / "report" / "index.html").is_file()
    assert len(rounds(federation)) == 4
