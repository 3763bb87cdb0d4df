"""A whole deployment by documented names of Flower alone, as with an untested version of it."""

import os
import signal
import time

import psutil
import pytest
from support.federations import Federation, await_that, facts, write_folder

from clients.deploy.installed_code_only.sitecustomize import REFUSED
from fl.util.tested_versions import PUBLIC_ONLY

# Every request starts a Python that imports torch: minutes, also for a run of two rounds.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SITES = ("site-1", "site-2")
FLAGS = ("--model", "resnet1d", "--local-epochs", "1", "--batch-size", "4")


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    """Two sites at work, on synthetic recordings."""
    base = tmp_path_factory.mktemp("documented")
    for i, site in enumerate(SITES):
        names = [f"S{n:05d}" for n in range(1 + i * 20, 21 + i * 20)]
        write_folder(base / "data" / site, names)
    with Federation(base, sites=SITES) as made:
        made.env[PUBLIC_ONLY] = "1"
        made.flags = {
            site: ("--sources", f"own={base / 'data' / site}", "--min-count", "1") for site in SITES
        }
        made.serve()
        made.admit_all()
        yield made


def log_of(federation, site):
    return (federation.home(site) / "logs" / "site.log").read_text()


def test_one_line_reports_each_other_way(federation):
    for name, wanted in {
        "serve": "a site without work asks every 3 s",
        SITES[0]: "Flower's own SuperNode starts a process for each request",
    }.items():
        assert (federation.base / f"{name}.log").read_text().count(wanted) == 1
    done = federation.run("server.deploy", "status", federation.folder)
    assert "the SuperLink is asked by `flwr` commands" in done.stderr


def test_a_run_completes_with_flowers_own_processes(federation):
    flags = ("--rounds", "2", *FLAGS, "--name", "run")
    federation.do("server.deploy", "run", federation.folder, *flags, timeout=600)
    record = facts(federation.base / "runs" / "run" / "run.json")
    assert (record["status"], record["failures"]) == ("completed", [])
    summary = facts(federation.base / "runs" / "run" / "summary.json")
    assert set(summary["strategies"]["fedavg"]["sites"]) == set(SITES)
    for site in SITES:
        assert "Start `flwr-clientapp` process" in log_of(federation, site)
        assert "flwr.proto" not in log_of(federation, site)


def test_a_killed_supernode_is_missed_after_a_minute_and_its_site_asked_again(federation):
    """Nobody can take leave for it by documented names; it is not --timeout that it costs."""
    flags = ("--rounds", "2", *FLAGS, "--name", "killed", "--timeout", "600")
    before = log_of(federation, SITES[1]).count("Receiving: train")
    process = federation.start(
        *("run", "server.deploy", "run", federation.folder, *flags), awaited="training patients"
    )
    await_that(lambda: log_of(federation, SITES[1]).count("Receiving: train") > before)
    children = psutil.Process(federation.processes[SITES[1]].pid).children(recursive=True)
    (killed,) = [c for c in children if "flower-supernode" in " ".join(c.cmdline()[:2])]
    killed.send_signal(signal.SIGKILL)
    at = time.monotonic()
    assert process.wait(500) == 0
    del federation.processes["run"]
    assert time.monotonic() - at < 300
    record = facts(federation.base / "runs" / "killed" / "run.json")
    assert (record["status"], record["failures"]) == ("completed", [])


def test_code_that_the_coordinator_sends_is_not_executed(federation):
    marker = federation.base / "executed"
    evil = federation.folder / "heartfed" / "clients"
    evil.mkdir()
    code = f"open({str(marker)!r}, 'a').write(__file__); app = None\n"
    for name in ("__init__.py", "app.py"):
        (evil / name).write_text(code)
    flags = ("--rounds", "1", *FLAGS, "--name", "evil", "--timeout", "60")
    done = federation.run("server.deploy", "run", federation.folder, *flags, timeout=600)
    assert done.returncode == 1
    assert REFUSED in done.stderr
    unpacked = (federation.home(SITES[0]) / "flwr" / "apps").glob("heartfed.*/clients/app.py")
    assert list(unpacked), "the code did not arrive, so nothing was tested"
    # `flwr run` itself loads the code, at the coordinator, to see whether it has an app.
    assert str(federation.base / "homes") not in marker.read_text()
    assert REFUSED in log_of(federation, SITES[0])


def test_a_site_ends_with_all_that_flower_started_for_it(federation):
    process = federation.processes.pop(SITES[1])
    started = psutil.Process(process.pid).children(recursive=True)
    assert any("flower-superexec" in " ".join(one.cmdline()) for one in started)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(60) == 0
    await_that(lambda: not any(one.is_running() for one in started), 30)
    assert federation.run("clients.deploy", "health", "--site", SITES[1]).returncode == 1
