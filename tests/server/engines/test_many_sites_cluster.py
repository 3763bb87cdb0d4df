"""A thousand sites on a Ray cluster, one of whose machines dies in the middle of the run."""

import json
import os
import signal
import threading
import time
from dataclasses import replace

import pytest
from support.ray_machines import Machine
from support.run_folders import without_seconds

import run_sim
from fl.data.example_cache import prepare
from fl.datasets.synthetic import SYNTHETIC_HOLTER
from fl.ecg.tasks import BEAT
from server.experiment import prepare as experiment

SITES = 1000
FLAGS = [
    *("--data", "synthetic", "--sources", "synthetic-2lead", "--task", "beat"),
    *("--model", "beat_cnn", "--partition", "iid", "--clients", str(SITES), "--rounds", "3"),
    *("--local-epochs", "1", "--batch-size", "4", "--imbalance", "none", "--site-folds", "0"),
    *("--quiet", "--no-pages", "--name", "run"),
]


@pytest.fixture(scope="module")
def recordings(cache_dir, tmp_path_factory):
    """Three short recordings for each site."""
    source = replace(SYNTHETIC_HOLTER, n_records=3 * SITES, seconds=(10.0, 11.0))
    return prepare(source, tmp_path_factory.mktemp("no"), BEAT, cache_dir, workers=2)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_thousand_sites_go_on_without_a_machine_that_dies(
    recordings, machines, folder, address, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        experiment, "prepare_all", lambda *given, **options: {"synthetic-2lead": recordings}
    )
    on_one = ["--engine", "local", "--out", str(tmp_path / "one")]
    assert run_sim.main([*FLAGS, *on_one]) == 0
    lost = Machine(folder, "lost", "--address", address, "--node-ip-address", "127.0.0.4", cores=1)
    run = tmp_path / "run"
    progress = run / "checkpoint" / "fedavg"

    def kill_after_the_first_round():
        end = time.monotonic() + 300
        while not any(progress.glob("*")) and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(1)  # the second round's visits are on their way
        os.killpg(lost.process.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_after_the_first_round, daemon=True)
    killer.start()
    try:
        assert run_sim.main([*FLAGS, "--ray-address", address, "--out", str(tmp_path)]) == 0
    finally:
        killer.join(310)
        lost.end()
    rounds, before = without_seconds(run / "rounds.csv"), tmp_path / "one" / "run" / "rounds.csv"
    assert len(rounds) == 3
    failures = json.loads((run / "run.json").read_text())["failures"]
    # What the machine had in hand is missing in its round, by name; all else is there.
    assert {failure["round"] for failure in failures} <= {2}
    assert [int(row["participants"]) for row in rounds] == [SITES, SITES - len(failures), SITES]
    assert len({failure["site"] for failure in failures}) == len(failures) < SITES / 10
    assert all("worker" in failure["reason"] for failure in failures)
    assert rounds[0] == without_seconds(before)[0]
