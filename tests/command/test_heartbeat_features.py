"""A run whose network also reads what is measured on heartbeats and waves."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from support import made_runs

import run_sim
from clients import local_training
from fl.data.cohort import Cohort
from fl.data.example_cache import prepare
from fl.datasets.synthetic import SYNTHETIC, SYNTHETIC_HOLTER
from fl.ecg.records import LEADS
from fl.ecg.rhythm.features import lead_of_feature
from fl.ecg.tasks import RHYTHM, RHYTHM_FEATURES
from fl.explain.saliency import explain
from fl.models import MODELS, build_network, check_model
from fl.predict.inference import predict_recording
from fl.predict.saved_model import load_model
from fl.training.augmentation import augment_batch
from fl.util.errors import ConfigError
from fl.util.random_streams import stream
from partitions.device_skew import recorder_of

FLAGS = ["--data", "synthetic", "--synthetic-records", "50", "--model", "cnn_simple", "--quiet"]
FLAGS += ["--clients", "2", "--rounds", "2", "--local-epochs", "1", "--engine", "local"]
TASK = RHYTHM


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    assert run_sim.main([*FLAGS, "--out", str(out), "--name", "a"]) == 0
    return out / "a"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    return Cohort.open(TASK, [prepare(replace(SYNTHETIC, n_records=6), folder, TASK, folder)])


def test_the_run_and_its_model_card_say_what_was_measured(folder):
    config = json.loads((folder / "run.json").read_text())["config"]
    assert (config["task"], config["rhythm_features"]) == ("rhythm", "all")
    card = (folder / "weights" / "fedavg.md").read_text()
    assert f"{len(TASK.features)} numbers measured on the heartbeats and waves" in card
    assert "trained on SVDB alone" in card
    assert (folder / "report" / "index.html").is_file()


@pytest.mark.parametrize("source", [SYNTHETIC, SYNTHETIC_HOLTER])
def test_prediction_measures_the_same_as_training(folder, source):
    model = load_model(folder / "weights" / "fedavg-best.safetensors")
    size = 25 if source.holter else 50
    rows = made_runs.table(folder / "predictions.csv")
    row = next(r for r in rows if r["source"] == source.name)
    record = replace(source, n_records=size).read(folder, row["record"])
    found = predict_recording(
        model, record, record.name, source=source.name, windows=False, detector=""
    )
    for name, p in found.findings[0].p.items():
        assert p == pytest.approx(float(row[f"p_{name}"]), abs=1e-4)


def test_a_run_that_is_stopped_goes_on_to_the_same_weights(folder, tmp_path, monkeypatch):
    fit, trainings = local_training.fit, iter(range(3))  # of two sites in a round

    def stopped_after_a_while(*given, **named):
        if next(trainings, None) is None:
            raise KeyboardInterrupt
        return fit(*given, **named)

    monkeypatch.setattr(local_training, "fit", stopped_after_a_while)
    assert run_sim.main([*FLAGS, "--out", str(tmp_path), "--name", "b"]) == 1
    monkeypatch.setattr(local_training, "fit", fit)
    assert run_sim.main(["--resume", str(tmp_path / "b"), "--quiet", "--no-pages"]) == 0
    last = "weights/fedavg-last.safetensors"
    assert (tmp_path / "b" / last).read_bytes() == (folder / last).read_bytes()


def test_a_dropped_lead_takes_what_was_measured_in_it_along(cohort):
    batch = cohort.batch(torch.arange(6).numpy(), torch.zeros(6, dtype=torch.int64).numpy())
    changed = augment_batch(batch, TASK, ("lead_dropout",), stream(0, "drop"))
    dropped = (batch.lead_mask > 0) & (changed.lead_mask == 0)
    assert dropped.any()
    for column, name in enumerate(TASK.features):
        lead = lead_of_feature(name)
        before, after = batch.features[:, column], changed.features[:, column]
        lost = dropped[:, LEADS.index(lead)] if lead else torch.zeros(6, dtype=torch.bool)
        assert (after[lost] == 0).all()
        assert torch.equal(after[~lost], before[~lost])


def test_a_lead_that_a_site_does_not_deliver_takes_its_features_along(cohort):
    lost = cohort.recorded_by(recorder_of(("leads",), TASK, 1, "site-1"))
    gone = cohort.lead_mask & ~lost.lead_mask
    assert gone.any()
    for column, name in enumerate(TASK.features):
        lead = lead_of_feature(name)
        masked = gone[:, LEADS.index(lead)] if lead else np.zeros(len(gone), dtype=bool)
        assert not lost.features[masked, column].any()
        assert np.array_equal(lost.features[~masked, column], cohort.features[~masked, column])


def test_mixed_examples_have_mixed_features(cohort):
    batch = cohort.batch(torch.arange(6).numpy(), torch.zeros(6, dtype=torch.int64).numpy())
    changed = augment_batch(batch, TASK, ("mixup",), stream(0, "mix"))
    assert not torch.equal(changed.features, batch.features)
    low, high = batch.features.amin(dim=0), batch.features.amax(dim=0)
    assert (changed.features >= low - 1e-5).all()
    assert (changed.features <= high + 1e-5).all()


@pytest.mark.parametrize("form", [task for name, task in RHYTHM_FEATURES.items() if name != "none"])
def test_a_network_of_recordings_reads_each_form(form):
    for name in ("reslstm_temporalse", "cnn1d", "gru"):
        check_model(name, form)
        network = build_network(name, form).eval()
        signal, mask = torch.randn(2, 12, 1000), torch.ones(2, 12)
        features = torch.randn(2, len(form.features))
        first = network(signal, mask, features)
        assert first.shape == (2, len(form.classes))
        assert not torch.equal(first, network(signal, mask, -features))


@pytest.mark.parametrize("name", [n for n in MODELS if n.startswith("beat_")])
def test_a_network_that_reads_features_of_heartbeats_is_refused(name):
    with pytest.raises(ConfigError, match="reads features of heartbeats, and those of rhythm are"):
        check_model(name, TASK)


def test_an_explanation_names_the_features(cohort):
    found = explain(build_network("cnn_simple", TASK), cohort, 0, "AF", "gradients")
    assert {feature.name for feature in found.features} == set(TASK.features)
    assert found.complete
