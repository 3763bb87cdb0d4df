"""With a Flower that was not tested, Flower's own engine carries the messages."""

import flwr
import pytest
import ray
from support.rounds import digest, run

from clients.app import app as client_app
from fl.util import tested_versions
from fl.util.errors import ConfigError
from server.app import SilentListener, server_app
from server.engines import grid_internals, ray_cluster
from server.engines.ray_workers import WorkerPool
from server.engines.simulation import simulate


@pytest.fixture
def _untested(monkeypatch):
    monkeypatch.setattr(grid_internals, "FLOWER_VERSIONS", ("1.0.0",))
    monkeypatch.setenv(tested_versions._REPORTED, "")


@pytest.mark.slow
@pytest.mark.usefixtures("_untested")
def test_flowers_own_engine_gives_the_same_weights_and_one_line_says_so(make_job, capfd):
    job = make_job(sites=2, engine="ray", workers=1)
    pool = WorkerPool(job.config)
    try:
        simulate(server_app(SilentListener()), client_app, job, 2, pool)
    finally:
        pool.close()
        ray.shutdown()
    line = (
        f"flwr {flwr.__version__} (tested: 1.0.0): Flower's own engine is used instead of 'ray'; "
        "results are the same"
    )
    assert capfd.readouterr().err.splitlines().count(line) == 1
    weights = digest(job)
    run(alone := make_job(sites=2, name="alone"))
    assert digest(alone) == weights


@pytest.mark.usefixtures("_untested")
def test_a_cluster_needs_a_flower_that_was_tested(monkeypatch):
    monkeypatch.setattr(ray_cluster, "FLOWER_VERSIONS", ("1.0.0",))
    with pytest.raises(ConfigError, match=r"--ray-address needs Flower 1\.0\.0\. Install it"):
        ray_cluster.check_cluster("auto")
