"""A hospital splits its own patients as the simulation would, and keeps what is its own."""

import json
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Context, RecordDict, UserConfig
from flwr.common.config import parse_config_args
from support.federations import copy_folder, part_of, write_folder
from support.rules import even_rule
from support.saved_models import save_model

import fl
from clients.app import app
from clients.deploy import deployed_site
from clients.deploy.site_policy.policy_file import POLICY, write_policy
from clients.deploy.site_settings import SiteSettings, is_deployed
from clients.personalization import map_head, personal
from fl.data.cohort import Cohort
from fl.data.example_cache import prepare
from fl.datasets.own_folder import parse_source
from fl.ecg.tasks import RHYTHM
from fl.evaluation.decisions.decision_rule import answer as decide
from fl.evaluation.predictions import read_predictions
from fl.messages.flower_arrays import packed, to_array_record, unpacked
from fl.messages.flower_codec import (
    evaluation_request,
    read_evaluation_reply,
    read_training_reply,
    site_info_request,
    training_request,
)
from fl.messages.job import Job
from fl.models import NetworkParts, parts_of
from fl.models.mixture import MixtureOfNetworks
from fl.predict.saved_model import load_model
from fl.privacy.audit_log.digests import arrays_digest
from fl.privacy.audit_log.log_file import log_files
from fl.privacy.egress_policy import REASONS
from fl.training import frozen
from fl.training.loop import predict
from fl.training.state_dict import load_weights
from fl.util.errors import ConfigError, DataError
from partitions.dealing import deal
from partitions.partition import read_partition, write_partition
from partitions.splits import TEST
from server.app import initial_weights
from server.engines.in_process import LocalGrid


@pytest.fixture(scope="module")
def dealt(tmp_path_factory, cache_dir):
    """A folder dealt to two sites by the simulation, and the part of the first by itself."""
    base = tmp_path_factory.mktemp("dealt")
    write_folder(base / "whole", [f"S{n:05d}" for n in range(1, 41)])
    whole = Cohort.open(
        RHYTHM, [prepare(parse_source(f"own={base / 'whole'}"), base, RHYTHM, cache_dir)]
    )
    partition = deal(whole, {"own": 2}, "patients", 1.0, 3)
    write_partition(base / "partition.csv", whole, partition)
    copy_folder(base / "whole", base / "part", part_of(base / "partition.csv", "site-1"))
    return base, whole, partition


@pytest.fixture
def own(dealt, tmp_path, cache_dir):
    base, _, _ = dealt
    write_policy(tmp_path / POLICY, "rhythm")
    return SiteSettings(
        site="site-1",
        data_dir=str(base),
        folder=str(tmp_path),
        sources=f"own={base / 'part'}",
        cache_dir=str(cache_dir),
        min_count=1,
    )


def job(settings=None, **changed):
    config = {"seed": 3, "model": "resnet1d", "rounds": 1, "local_epochs": 1, "batch_size": 4}
    config |= settings or {}
    given = {"strategy": "fedavg", "run": "r-1", "version": fl.__version__} | changed
    return Job(config=config, **given)


def test_a_hospital_alone_gets_the_split_that_the_simulation_gave_it(dealt, own):
    _, whole, partition = dealt
    site = deployed_site.open_site(job(), own)
    for split, cohort in site.splits.items():
        expected = whole.take(partition.rows("site-1", split))
        assert len(cohort)
        assert cohort.names.tolist() == expected.names.tolist()


def test_another_seed_is_another_split(own):
    one, two = (deployed_site.site_partition(own, seed).split.tolist() for seed in (3, 4))
    assert one != two


def test_the_split_is_written_where_it_stays(own, tmp_path):
    deployed_site.open_site(job(), own)
    found = read_partition(
        tmp_path / "runs" / "r-1" / "partition.csv", deployed_site.site_cohort(own)
    )
    assert set(found.site.tolist()) == {"site-1"}


@pytest.mark.parametrize(
    ("changed", "error"),
    [({"version": "0.0"}, ConfigError), ({"run": "../x"}, ConfigError)],
)
def test_a_run_that_does_not_fit_is_refused(own, changed, error):
    with pytest.raises(error):
        deployed_site.open_site(job(**changed), own)


def test_a_run_of_another_task_is_refused(own):
    with pytest.raises(ConfigError, match="task"):
        deployed_site.open_site(job(), replace(own, task="beat"))


def test_too_few_records_are_refused(own):
    with pytest.raises(DataError, match="fewer than --min-count 100"):
        deployed_site.site_partition(replace(own, min_count=100), 3)


def test_a_hospital_comes_out_of_flowers_node_config_as_it_went_in(own):
    assert SiteSettings.from_node(parse_config_args([own.node_config()])) == own


@pytest.mark.parametrize("field", [{"site": "a b"}, {"data_dir": "it's"}, {"folder": 'a"b'}])
def test_what_flowers_node_config_cannot_carry_is_refused(own, field):
    with pytest.raises(ConfigError):
        replace(own, **field)


def context(own):
    config = UserConfig(parse_config_args([own.node_config()]))
    assert is_deployed(config)
    return Context(
        run_id=1, node_id=7, node_config=config, state=RecordDict(), run_config=UserConfig()
    )


def answer(own, message):
    LocalGrid(app, 1)
    return app(packed(message), context(own))


def test_predictions_stay_and_only_listed_measures_leave(own, tmp_path):
    LocalGrid(app, 1)
    start = initial_weights(job())
    rule = even_rule(RHYTHM.classes)
    ask = evaluation_request(job(), to_array_record(start), 7, 1, TEST, rule)
    evaluated = read_evaluation_reply(unpacked(answer(own, ask)))
    assert evaluated.report.subgroups is None
    folder = tmp_path / "runs" / "r-1"
    result = json.loads((folder / "summary.json").read_text())["strategies"]["fedavg"]
    assert result["sites"]["site-1"]["n_records"] == evaluated.n_records
    lines = (folder / "predictions.csv").read_text().splitlines()
    assert len(lines) == 1 + evaluated.n_records
    for page in ("index.html", "sites/site-1.html"):
        assert (folder / "report" / page).stat().st_size > 0
    kept = folder / "checkpoint" / "sites" / "site-1" / "tested-fedavg.safetensors"
    assert all(np.array_equal(start[k], v) for k, v in load_weights(kept).items())
    asked = audit_lines(tmp_path)[-2]
    run = json.loads((folder / "run.json").read_text())
    assert (run["audit"]["of"], run["audit"]["line"]) == ("site-1", asked["line"])
    sent = audit_lines(tmp_path)[-1]
    assert {"macro_f1", "macro_auroc", "sha256", "classes"} <= sent["measures"].keys()
    # The hospital's recordings are where it has them, so its page can draw and explain them.
    page = (folder / "report" / "sites" / "site-1.html").read_text()
    assert run["audit"]["sha256"] in page
    assert "amber speaks for" in page or "holds no wrong prediction" in page
    assert not (folder / "report" / "embedding.svg").exists()  # too few test records


def audit_lines(folder):
    files = log_files(folder / "audit")
    return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]


def test_the_audit_log_has_digests_and_counts_and_no_record_and_no_patient(own, tmp_path):
    LocalGrid(app, 1)
    start = initial_weights(job())
    answer(own, site_info_request(job(), 7))
    reply = answer(own, training_request(job(), to_array_record(start), 7, 1))
    trained = read_training_reply(unpacked(reply))
    answer(own, training_request(job(), to_array_record({}), 7, 1))
    found = audit_lines(tmp_path)
    assert [line["event"] for line in found] == ["asked", "answered"] * 2 + ["asked", "failed"]
    assert found[1]["numbers"]["n-train"] > 0
    ask, sent = found[2:4]
    assert (ask["kind"], ask["round"], ask["run"], ask["strategy"]) == ("train", 1, "r-1", "fedavg")
    assert ask["arrays"] == {"number": len(start), "sha256": arrays_digest(start)}
    assert sent["arrays"] == {"number": len(start), "sha256": arrays_digest(trained.weights)}
    assert sent["numbers"]["num-examples"] == trained.n_records
    written = b"".join(file.read_bytes() for file in log_files(tmp_path / "audit")).decode()
    cohort = deployed_site.site_cohort(own)
    names = {*cohort.names.tolist(), *cohort.patients.tolist()}
    names |= {name.split("/")[-1] for name in names}
    assert len(names) >= 30
    assert [name for name in names | {own.data_dir} if name in written] == []


def test_a_model_of_the_hospitals_own_stays_in_its_folder(own, tmp_path, monkeypatch):
    LocalGrid(app, 1)
    monkeypatch.setattr(map_head, "SHIFTS", (1.0,))
    asked = job({"strategy": "map-head"}, strategy="map-head")
    start = initial_weights(asked)
    ask = evaluation_request(asked, to_array_record(start), 7, 1, TEST, even_rule(RHYTHM.classes))
    reply = unpacked(answer(own, ask))
    assert not reply.content.array_records
    folder = tmp_path / "runs" / "r-1"
    (path,) = folder.rglob("*map-head-site-1.safetensors")
    assert path == folder / "weights" / "map-head-site-1.safetensors"
    model = load_model(path, "rhythm")
    assert (model.strategy, model.synthetic) == ("map-head-site-1", False)
    assert "own" in model.rule.thresholds
    assert "site-1's own model" in path.with_suffix(".md").read_text()
    # What the hospital was asked to test is the federation's, and not the model of its own.
    tested = load_weights(folder / "checkpoint/sites/site-1/tested-map-head.safetensors")
    assert all(np.array_equal(start[k], v) for k, v in tested.items())


def test_a_hospitals_pages_state_what_really_answered_and_decided_there(own, tmp_path, monkeypatch):
    """The mixture is a file that predicts what the page counts, by the thresholds it states."""
    LocalGrid(app, 1)
    real = personal.mix
    monkeypatch.setattr(personal, "mix", lambda *given: replace(real(*given), loss=0.0))
    asked = job({"strategy": "personal", "personal_epochs": 1}, strategy="personal")
    start, sent = initial_weights(asked), even_rule(RHYTHM.classes, threshold=0.01)
    ask = evaluation_request(asked, to_array_record(start), 7, 1, TEST, sent)
    reply = unpacked(answer(own, ask))
    assert not reply.content.array_records
    folder = tmp_path / "runs" / "r-1"
    model = load_model(folder / "weights" / "personal-site-1.safetensors", "rhythm")
    assert isinstance(model.network, MixtureOfNetworks)
    result = json.loads((folder / "summary.json").read_text())["strategies"]["personal"]
    assert result["thresholds"] == model.rule.thresholds
    assert result["thresholds"].keys() > sent.thresholds.keys()
    test = deployed_site.open_site(asked, own).splits[TEST]
    p, decided = decide(model.rule, predict(model.network, test), test.sources, RHYTHM.classes)
    written = read_predictions(folder / "predictions.csv", RHYTHM.classes)
    np.testing.assert_allclose(written.probabilities, p, atol=1e-6)
    np.testing.assert_array_equal(written.decided, decided)


def test_nothing_is_reported_of_a_split_that_is_too_small(own):
    LocalGrid(app, 1)
    few = replace(own, min_count=6)
    ask = evaluation_request(job(), to_array_record(initial_weights(job())), 7, 1, "val")
    evaluated = read_evaluation_reply(unpacked(answer(few, ask)))
    assert (evaluated.n_records, evaluated.loss_sum) == (0, 0.0)
    (validation,) = evaluated.by_source.values()
    assert validation.n_patients == 0
    assert not any(counts.any() for counts in vars(validation.scores).values())


def frozen_job(tmp_path):
    """A job whose coordinator starts from a saved model and freezes its features."""
    path = save_model(tmp_path / "before", "resnet1d", "rhythm")
    return job({"init_from": str(path), "freeze": "features"}, workspace=str(tmp_path / "run"))


def test_a_hospital_sends_back_what_it_trained_and_no_frozen_layer(own, tmp_path):
    LocalGrid(app, 1)
    asked = frozen_job(tmp_path)
    start = initial_weights(asked)
    trained = training_request(asked, to_array_record(start), 7, 1)
    reply = read_training_reply(unpacked(answer(own, trained)))
    classifier = parts_of("resnet1d", RHYTHM).classifier
    assert reply.weights.keys() == set(classifier)
    assert not any(np.array_equal(reply.weights[name], start[name]) for name in classifier)


def test_a_hospital_whose_network_cannot_be_frozen_says_so(own, tmp_path, monkeypatch, caplog):
    LocalGrid(app, 1)
    asked = frozen_job(tmp_path)
    monkeypatch.setattr(frozen, "parts_of", lambda *_: NetworkParts())
    frozen.frozen_entries.cache_clear()
    try:
        reply = answer(own, site_info_request(asked, 7))
    finally:
        frozen.frozen_entries.cache_clear()
    assert reply.error.reason == REASONS["settings"]
    assert "--model resnet1d declares no layers that could be trained" in caplog.text


def test_only_a_general_reason_leaves_for_a_request_that_failed(own, caplog):
    LocalGrid(app, 1)
    reply = answer(own, site_info_request(job(version="0.0"), 7))
    assert reply.error.reason == REASONS["version"]
    odd = evaluation_request(job(), to_array_record({"x": np.ones(2)}), 7, 1, "val")
    reply = answer(own, odd)
    assert reply.error.reason == REASONS["failed"]
    assert "a request failed" in caplog.text
