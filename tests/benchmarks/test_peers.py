"""The comparison with other frameworks: all do HeartFed's work, and who does not is marked."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks.common.process_watch import ProcessWatch
from benchmarks.speed import engine_run
from benchmarks.speed.peer_adapters.bare_pool import merged
from benchmarks.speed.peer_adapters.site_work import SiteWork
from benchmarks.speed.peer_adapters.workload import LAST, Workload
from benchmarks.speed.peer_tables import (
    FRAMEWORKS,
    HEARTFED,
    POOL,
    Framework,
    draw,
    figures,
    table,
)
from benchmarks.speed.peers import JOBS, last_loss, run_framework, version_at
from fl.training.state_dict import (
    fresh_weights,
    get_weights,
    load_weights,
    save_weights,
    set_weights,
)

SMALL = Workload(sites=3, train=8, val=2, rounds=2)


@pytest.fixture
def small_job(tmp_path):
    return SMALL.job(tmp_path, 2)


def trained_by_hand(job):
    """The weights after all rounds of a federation that is a loop."""
    work, weights = SiteWork(job), fresh_weights(job.config)
    for number in range(1, job.config.rounds + 1):
        replies = []
        for name in work.names:
            set_weights(work.network, weights)
            work.visit(name, number)
            n = work.records(name)
            replies.append(({k: v * n for k, v in get_weights(work.network).items()}, n))
        weights = merged(replies)
    return weights


def steps_in(folder):
    lines = [line for path in folder.glob("visits-*.csv") for line in path.read_text().split()]
    return sum(int(line.split(",")[2]) for line in lines)


def test_the_work_of_a_site_is_that_of_heartfed(small_job, tmp_path):
    config = small_job.config.model_copy(update={"engine": "local"})
    in_process = small_job.model_copy(update={"config": config})
    engine_run.by_heartfed(in_process, False, engine_run.Moments())
    assert steps_in(tmp_path) == SMALL.steps
    federated = load_weights(tmp_path / LAST)
    by_hand = trained_by_hand(small_job)
    assert steps_in(tmp_path) == 2 * SMALL.steps
    first = fresh_weights(small_job.config)
    assert any(np.abs(federated[name] - first[name]).max() > 1e-3 for name in first)
    for name, values in by_hand.items():
        np.testing.assert_allclose(federated[name], values, rtol=1e-4, atol=5e-5)


@pytest.mark.parametrize("name", JOBS)
def test_the_steps_of_a_job_are_counted_right(name):
    job = JOBS[name]
    per_site = {80: 10, 8: 2}[job.train]
    assert job.steps == job.sites * job.rounds * per_site


def test_a_framework_that_fails_is_reported_and_ends(small_job, capsys):
    missing = Framework(title="", package="", module="no_such_module")
    failed = run_framework(small_job, missing, sys.executable, 60)
    assert failed["error"] == "failed"
    assert "no_such_module" in capsys.readouterr().out
    slow = FRAMEWORKS[POOL]
    assert run_framework(small_job, slow, sys.executable, 0.01) == {"error": "not in 0 s"}


def test_processes_that_a_process_left_behind_are_ended():
    code = (
        "import subprocess as s; print(s.Popen(['sleep', '60'], stdout=s.DEVNULL).pid, flush=True)"
        "; input()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    child = psutil.Process(int(parent.stdout.readline()))
    with ProcessWatch(parent.pid, every=0.02, memory=False) as watched:
        time.sleep(0.3)
        parent.communicate("\n")
        assert child.is_running()
        watched.end_all()
    assert not psutil.wait_procs([child], timeout=10)[1]


def test_a_package_has_a_version_where_it_is_installed():
    assert version_at(sys.executable, "torch")
    assert version_at(sys.executable, "no-such-framework") is None
    assert version_at(str(Path("no") / "python"), "torch") is None


def case_of(seconds, steps=8, loss=0.5):
    return {
        "start": 1.0,
        "rounds": [9.0, seconds, seconds],
        "whole": 4 * seconds,
        "cpu": 3.0,
        "steps": steps,
        "loss": loss,
    }


RESULTS = {
    "8/pool/0": case_of(1.0),
    "8/pool/1": case_of(2.0),
    "8/heartfed/0": case_of(1.5, loss=0.50001),
    "8/heartfed/1": case_of(3.0, loss=0.50001),
    "8/flower/0": case_of(2.0, steps=6, loss=0.6),
    "8/pfl/0": case_of(2.0, loss=0.6),
    "8/nvflare/0": {"error": "not in 300 s"},
    "100/pool/0": case_of(50.0),
}


def test_frameworks_are_compared_with_the_pool_in_the_same_turn():
    found = figures(RESULTS, "8", steps=8)
    assert found[HEARTFED]["to_pool"] == found[HEARTFED]["whole_to_pool"] == 1.5
    assert found[HEARTFED]["round"] == 2.25
    assert found["flower"]["to_pool"] == 2.0
    assert [key for key, entry in found.items() if entry.get("equal")] == [POOL, HEARTFED]


def test_the_table_marks_who_did_less_or_is_not_there():
    versions = dict.fromkeys(FRAMEWORKS, "1.0") | {"fedlab": None}
    lines = table(figures(RESULTS, "8", steps=8), versions)
    by_title = {line.split(" | ")[0].removeprefix("| "): line for line in lines[2:]}
    assert by_title["HeartFed"].endswith("| same |")
    assert by_title["plain Flower 1.0"].endswith("| 25.0% of the steps lost |")
    assert by_title["pfl-research 1.0"].endswith("| **another loss** |")
    assert by_title["FedLab"].split(" | ")[1] == "not installed"
    assert by_title["NVFlare 1.0"].split(" | ")[1] == "not in 300 s"
    assert {line.count("|") for line in lines} == {11}


def test_the_plot_has_a_bar_for_each_framework():
    drawn = draw({"8 sites": figures(RESULTS, "8", steps=8)}, [POOL, HEARTFED, "flower", "nvflare"])
    assert all(FRAMEWORKS[key].title.encode() in drawn for key in (POOL, HEARTFED, "nvflare"))


@pytest.mark.slow
@pytest.mark.parametrize("key", [HEARTFED, "flower"])
def test_a_framework_ends_with_the_loss_of_the_bare_pool(small_job, tmp_path, key):
    cases = [run_framework(small_job, FRAMEWORKS[k], sys.executable, 120) for k in (POOL, key)]
    assert [case["steps"] for case in cases] == [SMALL.steps] * 2
    assert cases[1]["loss"] == pytest.approx(cases[0]["loss"], rel=1e-5)
    by_hand = tmp_path / "by-hand.safetensors"
    save_weights(by_hand, trained_by_hand(small_job))
    assert last_loss(small_job, by_hand) == pytest.approx(cases[0]["loss"], rel=1e-5)
