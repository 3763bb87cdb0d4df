"""Hospitals of a deployment make models of their own, which stay there and can be applied."""

import json

import pytest
from support.federations import Federation, facts, synthetic_folders

from fl.training.saved_weights import own_model_name

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SITES = ("site-1", "site-2")
FLAGS = ("--rounds", "1", "--model", "cnn_simple", "--local-epochs", "1", "--batch-size", "4")
FEW = ("--personal-epochs", "1")


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    """Two sites at work, on synthetic recordings."""
    base = tmp_path_factory.mktemp("own-models")
    with Federation(base, sites=SITES) as made:
        made.flags = synthetic_folders(base, SITES)
        made.serve()
        made.admit_all()
        yield made


@pytest.mark.parametrize(("strategy", "more"), [("map-head", ()), ("personal", FEW)])
def test_each_hospital_has_its_model_and_the_coordinator_has_none(federation, strategy, more):
    flags = ("--strategy", strategy, *FLAGS, *more, "--name", strategy)
    federation.do("server.deploy", "run", federation.folder, *flags, timeout=600)
    run = federation.base / "runs" / strategy
    record = facts(run / "run.json")
    assert (record["status"], record["failures"]) == ("completed", [])
    assert set(facts(run / "summary.json")["strategies"][strategy]["sites"]) == set(SITES)
    assert not list(run.rglob("*site-*.safetensors"))
    for site in SITES:
        name = f"{own_model_name(strategy, site)}.safetensors"
        (weights,) = federation.home(site).rglob(name)
        assert site in str(weights.relative_to(federation.home(site)))
        others = [other for other in SITES if other != site]
        assert not [path for other in others for path in federation.home(other).rglob(name)]
        recording = federation.base / "data" / site / "S00001.hea"
        if site == SITES[0]:
            answer = federation.do("fl.predict", "--weights", weights, "--json", recording)
            assert json.loads(answer)["strategy"].startswith(strategy)
