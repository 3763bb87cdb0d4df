"""A site's own model in a simulation: its file, its decision rule, and what reads them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.jobs import job_over
from support.rounds import run
from torch import nn

from clients.personalization import map_head
from clients.simulated_sites import sites_of
from fl.evaluation.decisions.decision_rule import answer
from fl.evaluation.predictions import read_predictions
from fl.explain.run_networks import RunNetworks
from fl.predict.saved_model import load_model
from fl.reports.own_card import OwnModelFile, own_models, write_own_card
from fl.training.loop import predict
from fl.training.saved_weights import KINDS
from fl.training.state_dict import get_weights, load_weights
from fl.util.errors import ConfigError
from partitions.splits import TEST

SITES = ("site-1", "site-2")


@pytest.fixture(scope="module")
def finished(few, tmp_path_factory):
    """A federation of two sites, each of which ends with a head of its own.

    They have few patients, whom the global head might answer best: it is left out of the choice.
    """
    job = job_over(few, tmp_path_factory.mktemp("own") / "run", 2, strategy="map-head")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(map_head, "SHIFTS", (1.0,))
        watching, _ = run(job)
    assert watching.failed == []
    return job


def weights(job, site="site-1"):
    return Path(job.workspace) / "weights" / f"map-head-{site}.safetensors"


@pytest.mark.parametrize("name", SITES)
def test_the_file_answers_as_the_site_did(finished, name):
    model = load_model(weights(finished, name), "rhythm")
    assert (model.strategy, model.name) == (f"map-head-{name}", "resnet1d")
    assert model.synthetic
    site = sites_of(finished)[name]
    test = site.splits[TEST]
    raw = predict(model.network, test)
    p, decided = answer(model.rule, raw, test.sources, test.task.classes)
    reported = read_predictions(site.folder / "predictions-map-head.csv", test.task.classes)
    np.testing.assert_array_equal(p, reported.probabilities)
    np.testing.assert_array_equal(decided, reported.decided)


def test_nothing_but_the_head_differs_from_the_federations_model(finished):
    folder = Path(finished.workspace) / "weights"
    best = load_weights(folder / "map-head-best.safetensors")
    own = load_weights(weights(finished))
    changed = {name for name in best if not np.array_equal(best[name], own[name])}
    assert changed == {"head.weight", "head.bias"}


def test_a_run_that_goes_on_writes_the_same_files(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(map_head, "SHIFTS", (1.0,))
    folder = tmp_path / "run"
    shutil.copytree(finished.workspace, folder)
    before = written(folder)
    for path in [*folder.glob("weights/map-head-*"), *folder.glob("checkpoint/parts/map-head.*")]:
        path.unlink()
    run(finished.model_copy(update={"workspace": str(folder)}))
    assert written(folder) == before


def written(folder):
    """Every file beside and of the weights."""
    files = [*folder.glob("weights/*.safetensors"), *folder.glob("weights/*.json")]
    return {path.name: path.read_bytes() for path in files}


def test_its_card_says_whose_it_is_and_how_it_was_made(finished):
    found = list(own_models(Path(finished.workspace), ("map-head",)))
    assert [(model.site, model.strategy) for model in found] == [(s, "map-head") for s in SITES]
    card = write_own_card(found[0], []).read_text()
    assert card.startswith("# Model card: map-head-site-1")
    assert "SYNTHETIC DATA" in card
    assert "A head fitted to" in card
    assert "site-2" not in card
    assert not list(own_models(Path(finished.workspace), ("fedavg",)))


def test_its_pages_show_where_the_sites_own_model_looked(finished):
    folder, config = Path(finished.workspace), finished.config.model_dump()
    own = RunNetworks(folder, config, "map-head", "site-1").of("")
    assert isinstance(own, nn.Module)
    expected = load_weights(weights(finished))
    assert all(np.array_equal(v, expected[k]) for k, v in get_weights(own).items())
    assert "does not keep" in RunNetworks(folder, config, "map-head").of("")


def copied(finished, folder, **changed):
    path = weights(finished)
    for file in (path, path.with_suffix(".json")):
        shutil.copy(file, folder / file.name)
    described = folder / path.with_suffix(".json").name
    described.write_text(json.dumps(json.loads(described.read_text()) | changed))
    return folder / path.name


def test_a_model_of_a_kind_that_is_not_known_is_refused(finished, tmp_path):
    with pytest.raises(ConfigError, match=r"has the kind 'forest'. Known: network, mixture"):
        load_model(copied(finished, tmp_path, kind="forest"))


def test_a_kind_says_how_its_module_is_made(finished, tmp_path, monkeypatch):
    monkeypatch.setitem(KINDS, "twice", KINDS["network"])
    assert load_model(copied(finished, tmp_path, kind="twice")).strategy == "map-head-site-1"


def test_a_file_that_is_not_its_own_is_refused(finished, tmp_path):
    with pytest.raises(ConfigError, match="its SHA-256 is not the one"):
        load_model(copied(finished, tmp_path, sha256="0"))


def test_its_strategy_and_its_site_are_read_from_beside_it(finished, tmp_path):
    found = OwnModelFile.at(copied(finished, tmp_path, site="site-1"))
    assert replace(found, facts={}, path=Path()) == OwnModelFile(
        path=Path(), strategy="map-head", site="site-1", facts={}
    )
