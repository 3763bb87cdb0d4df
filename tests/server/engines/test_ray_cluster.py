"""A run on a Ray cluster of two machines that share no disk: same results, recordings sent once.

The two machines are two Ray nodes on this one, each with folders of its own.
"""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from ray._raylet import GcsClient
from support.ray_machines import Machine
from support.run_folders import kill_after, results

import run_sim
from fl.data.example_cache import is_complete
from fl.messages.flower_codec import read_job, site_info_request
from fl.util.errors import ConfigError
from server.engines import cluster_workers, ray_cluster
from server.engines.cluster_workers import versions as cluster_versions
from server.engines.grid_base import collect
from server.engines.ray_cluster import check_cluster, cluster_grid
from server.engines.ray_workers import KEEP_FREED_MEMORY

ROOT = Path(__file__).parents[3]
slow = pytest.mark.slow  # two Ray nodes start, and their workers for every test
FLAGS = [
    *("--data", "synthetic", "--synthetic-records", "50", "--clients", "3", "--rounds", "2"),
    *("--model", "resnet1d", "--local-epochs", "1", "--partition", "patients"),
    *("--quiet", "--no-pages"),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run on this machine alone."""
    out = tmp_path_factory.mktemp("whole")
    assert run_sim.main([*FLAGS, "--engine", "local", "--out", str(out), "--name", "run"]) == 0
    return out / "run"


def fetched(caplog):
    """(machine, bytes) of every copy that was made."""
    return [(r.args[0], r.args[2]) for r in caplog.records if "fetched" in r.msg]


def n_bytes(shards):
    return sum(file.stat().st_size for shard in shards for file in Path(shard).iterdir())


@slow
def test_the_cluster_gives_the_same_results_and_the_recordings_are_sent_once(
    machines, address, whole, tmp_path, caplog
):
    caplog.set_level(logging.INFO, "heartfed")
    home, other = machines
    given = ["--ray-address", address, "--out", str(tmp_path), "--name", "run"]
    assert run_sim.main([*FLAGS, *given]) == 0
    assert results(tmp_path / "run") == results(whole)
    kept = {p.relative_to(whole) for p in (whole / "checkpoint").rglob("*")}
    on_cluster = tmp_path / "run"
    assert {p.relative_to(on_cluster) for p in (on_cluster / "checkpoint").rglob("*")} == kept
    shards = [shard["cache"] for shard in run_facts(whole)["data"]]
    # Two of the three workers are on the other machine, and one of them fetched for both.
    assert fetched(caplog) == [("127.0.0.3", n_bytes(shards))]
    assert all(is_complete(other.cache / Path(shard).name) for shard in shards)
    assert not home.cache.exists()


def run_facts(folder):
    return json.loads((folder / "run.json").read_text())


def folders_client():
    """A client that replies with the folders its request names, and its settings of glibc.

    A function inside a function, which is sent whole: workers cannot import this file.
    """

    def client(message: Message, context: Context) -> Message:
        job = read_job(message)
        folders = [job.workspace, *job.shards]
        glibc = sorted(f"{k}={v}" for k, v in os.environ.items() if k.startswith("MALLOC_"))
        exist = [Path(folder).is_dir() for folder in folders]
        content = ConfigRecord({"folders": folders, "exist": exist, "glibc": glibc})
        return Message(RecordDict({"config": content}), reply_to=message)

    return client


def answers(grid, job, timeout=60):
    """The folders that each node's request named; None where the request failed."""
    messages = [site_info_request(job, node) for node in grid.get_node_ids()]
    replies = collect(grid, messages, timeout, lambda reply: None)
    return [None if r.has_error() else dict(r.content["config"]) for r in replies]


@pytest.fixture
def job(make_job, address):
    """A job on the cluster, with more sites than workers."""
    return make_job(sites=6, engine="ray", ray_address=address)


@slow
def test_each_machine_reads_its_own_copy_and_fetches_it_once(machines, job, caplog):
    caplog.set_level(logging.INFO, "heartfed")
    other = machines[1]
    copies = {other.cache / Path(shard).name for shard in job.shards}
    for _ in range(2):
        with cluster_grid(folders_client(), job, 6) as (grid, on_cluster):
            assert on_cluster.config.workers == 3
            named = [answer for _ in range(3) for answer in answers(grid, job)]
        assert all(all(answer["exist"]) for answer in named)
        glibc = sorted(f"{k}={v}" for k, v in KEEP_FREED_MEMORY.items())
        assert all(answer["glibc"] == glibc for answer in named)
        assert job.workspace not in {answer["folders"][0] for answer in named}
        # Its workers leave nothing of the run behind.
        assert not any(Path(answer["folders"][0]).exists() for answer in named)
        read = {tuple(answer["folders"][1:]) for answer in named}
        assert read == {tuple(map(str, job.shards)), tuple(map(str, copies))}
    assert fetched(caplog) == [("127.0.0.3", n_bytes(job.shards)), ("127.0.0.3", 0)]


@slow
def test_a_machine_with_another_version_is_named(machines, job, monkeypatch):
    monkeypatch.setattr(cluster_workers, "versions", lambda: cluster_versions() | {"torch": "1.0"})
    with (
        pytest.raises(ConfigError, match=r"127\.0\.0\.\d has torch .*, here it is 1\.0"),
        cluster_grid(folders_client(), job, 6),
    ):
        pass


@slow
def test_more_workers_than_cores_are_refused(machines, job):
    config = job.config.model_copy(update={"workers": 4})
    with (
        pytest.raises(ConfigError, match=r"--workers is 4, but the cluster at .* has 3 cores"),
        cluster_grid(folders_client(), job.model_copy(update={"config": config}), 6),
    ):
        pass


@slow
@pytest.mark.parametrize("what", ["ray_version", "python_version"])
def test_a_cluster_of_another_ray_or_python_is_named(machines, address, tmp_path, capsys, what):
    store = GcsClient(address=address)
    key, namespace = b"CLUSTER_METADATA", b"cluster"
    original = store.internal_kv_get(key, namespace)
    facts = json.loads(original)
    store.internal_kv_put(key, json.dumps(facts | {what: "3.0.1"}).encode(), True, namespace)
    try:
        assert run_sim.main([*FLAGS, "--ray-address", address, "--out", str(tmp_path)]) == 2
    finally:
        store.internal_kv_put(key, original, True, namespace)
    output = capsys.readouterr().err
    assert "Version mismatch" in output
    assert "3.0.1" in output
    assert facts[what] in output
    assert output.count("\n") == 1


@slow
@pytest.mark.parametrize("elsewhere", [[], ["--engine", "local", "--ray-address", ""]])
def test_a_killed_run_is_resumed_on_the_cluster_or_without_it(
    machines, address, whole, tmp_path, elsewhere
):
    given = ["--ray-address", address, "--out", str(tmp_path), "--name", "run"]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "run_sim.py"), *FLAGS, *given],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    kill_after(process, tmp_path / "run", rounds=1, seconds=0)
    assert process.returncode == -signal.SIGKILL
    resume = ["--resume", str(tmp_path / "run"), "--quiet", "--no-pages", *elsewhere]
    assert run_sim.main(resume) == 0
    assert results(tmp_path / "run") == results(whole)


@slow
def test_a_machine_that_is_lost_takes_only_its_own_workers_with_it(machines, folder, address, job):
    given = ("--address", address, "--node-ip-address", "127.0.0.4")
    lost = Machine(folder, "lost", *given, cores=1)
    copies = tuple(str(lost.cache / Path(shard).name) for shard in job.shards)

    def read(answers):
        return {tuple(answer["folders"][1:]) for answer in answers}

    try:
        with cluster_grid(folders_client(), job, 6) as (grid, _):
            assert copies in read([answer for _ in range(3) for answer in answers(grid, job)])
            os.killpg(lost.process.pid, signal.SIGKILL)
            end = time.monotonic() + 60
            while None in (last := answers(grid, job)):
                assert time.monotonic() < end
            assert copies not in read(last)
    finally:
        lost.end()


def test_a_port_that_never_answers_is_a_mistake(monkeypatch):
    monkeypatch.setattr(ray_cluster, "CONNECT", 4.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(ConfigError, match=f"{address}: no Ray cluster answered within 4 s"):
            check_cluster(address)
    assert time.monotonic() - began < 15
