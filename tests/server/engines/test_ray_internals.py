"""Which processes Ray starts for a run, with which settings, and that none of them stays."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest
import ray

from fl.config.run_config import RunConfig
from fl.util import tested_versions
from server.engines import ray_internals
from server.engines.ray_workers import KEEP_FREED_MEMORY, ray_running, start_worker

CONFIG = RunConfig(workers=2)
minimal = pytest.mark.skipif(
    not ray_internals.can_start_minimal(), reason=f"Ray {ray.__version__} starts its own way here"
)


WORKER = "default_worker.py"


def kind(process: psutil.Process) -> str:
    """What a process of Ray is, by its command.

    A worker is the same by either command: Ray sets the title "ray::..." where it can, and a
    system may still show the command that the worker was started with.
    """
    words = process.cmdline()
    if Path(words[0]).name in ("gcs_server", "raylet"):
        return Path(words[0]).name
    if words[0].startswith("ray::"):
        return WORKER
    return next((Path(word).name for word in words if word.endswith(".py")), words[0])


def process_of(actor) -> psutil.Process:
    """The process that an actor lives in, as the actor itself says."""
    return psutil.Process(ray.get(actor.__ray_call__.remote(lambda _: os.getpid())))


def runs(number: int) -> bool:
    """Whether a process still runs; a zombie does not."""
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def processes() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


@minimal
def test_ray_starts_its_two_servers_two_stand_ins_and_the_workers_with_our_settings():
    before = set(processes())
    with ray_running(CONFIG):
        actors = [start_worker(0) for _ in range(2)]
        workers = [process_of(actor) for actor in actors]
        started = [process for process in processes() if process not in before]
        assert sorted(map(kind, started)) == [
            *(WORKER, WORKER, "gcs_server"),
            *("ray_agent_stand_in.py", "ray_agent_stand_in.py", "raylet"),
        ]
        settings = KEEP_FREED_MEMORY | ray_internals.SETTINGS
        for worker in workers:
            assert settings.items() <= worker.environ().items()
    assert psutil.wait_procs(started, timeout=20)[1] == []


@pytest.mark.slow
def test_an_untested_version_starts_as_ray_does_and_one_line_says_so(monkeypatch, capfd):
    monkeypatch.setattr(ray_internals, "RAY_VERSIONS", ("1.0",))
    monkeypatch.setenv(tested_versions._REPORTED, "")
    for name in ray_internals.SETTINGS:  # which an earlier test may have left
        monkeypatch.delenv(name, raising=False)
    before = set(processes())
    with ray_running(CONFIG):
        worker = process_of(start_worker(0))
        started = [process for process in processes() if process not in before]
        assert "log_monitor.py" in map(kind, started)
        assert KEEP_FREED_MEMORY.items() <= worker.environ().items()
        assert not worker.environ().keys() & ray_internals.SETTINGS.keys()
    assert psutil.wait_procs(started, timeout=20)[1] == []
    line = (
        f"ray {ray.__version__} (tested: 1.0): Ray starts with its helper processes, which takes "
        "some seconds longer"
    )
    assert capfd.readouterr().err.splitlines().count(line) == 1


@minimal
def test_nothing_stays_when_the_run_is_killed():
    run = """
        import os, signal, psutil, ray
        from fl.config.run_config import RunConfig
        from server.engines.ray_workers import WorkerPool

        pool = WorkerPool(RunConfig(workers=2))
        actors = pool.take()
        ray.get([actor.__ray_ready__.remote() for actor in actors])
        print(*(p.pid for p in psutil.Process().children(recursive=True)), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(run)], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = set(map(int, done.stdout.split()))
    assert len(left) == 6
    end = time.monotonic() + 20
    while left and time.monotonic() < end:
        time.sleep(0.1)
        left = {number for number in left if runs(number)}
    assert left == set()


def test_a_worker_loads_no_more_than_requests_need():
    """The run waits while a worker loads."""
    unused = {
        *("aiohttp", "matplotlib", "pandas", "sklearn", "torch._dynamo", "wfdb"),
        *("scipy.special", "scipy.signal"),
    }
    code = f"import sys, clients.app; print(*(set(sys.modules) & {unused}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
