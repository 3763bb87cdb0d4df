"""A run with every remedy: what it says of its synthetic training recordings, and prediction."""

import json

import pytest
from support import made_runs

import run_sim
from clients import local_training
from fl.datasets.synthetic import SYNTHETIC_HOLTER
from fl.predict.__main__ import main as predict
from fl.predict.inference import predict_recording
from fl.predict.saved_model import load_model
from fl.training import simulated_recordings

FLAGS = ["--data", "synthetic", "--sources", "synthetic-2lead", "--synthetic-records", "50"]
FLAGS += ["--clients", "2", "--rounds", "2", "--local-epochs", "1", "--engine", "local", "--quiet"]
NOTE = "SYNTHETIC TRAINING RECORDINGS: each hospital also trained on 3 simulated recordings"


def run(out, name, *flags):
    assert run_sim.main([*FLAGS, *flags, "--out", str(out), "--name", name]) == 0
    return out / name


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of the rhythm task with wavelets, oversampling and simulated recordings."""
    flags = ["--filter", "wavelet", "--imbalance", "oversampled", "--simulated-rare", "3"]
    return run(tmp_path_factory.mktemp("runs"), "a", *flags, "--model", "cnn_simple")


def test_simulated_recordings_are_marked_everywhere_and_are_in_no_table(folder):
    facts = json.loads((folder / "run.json").read_text())
    assert facts["config"]["simulated_rare"] == 3
    assert {sum(site.values()) for site in facts["simulated_rare"].values()} == {3}
    for page in ("report/index.html", "report/sites/site-1.html", "weights/fedavg.md"):
        assert NOTE in (folder / page).read_text(), page
    for table in ("partition.csv", "predictions.csv"):
        text = (folder / table).read_text()
        assert "simulated" not in text
        assert "synthetic-2lead" in text


def test_a_run_without_them_says_nothing_of_them(folder, tmp_path, capsys):
    plain = run(tmp_path, "plain", "--model", "cnn_simple", "--no-pages")
    assert "SYNTHETIC TRAINING" not in capsys.readouterr().out
    assert "simulated_rare" not in json.loads((plain / "run.json").read_text())


def test_prediction_uses_the_filter_that_the_model_was_trained_with(folder, capsys):
    weights = folder / "weights" / "fedavg-best.safetensors"
    model = load_model(weights)
    assert (model.task.name, model.simulated_rare) == ("rhythm-wavelet", 3)
    source = run_source()
    row = next(r for r in made_runs.table(folder / "predictions.csv"))
    record = source.read(folder, row["record"])
    found = predict_recording(
        model, record, record.name, source=row["source"], windows=False, detector=""
    )
    for name, p in found.findings[0].p.items():
        assert p == pytest.approx(float(row[f"p_{name}"]), abs=1e-4)
    assert predict(["--weights", str(weights), "--task", "rhythm", "none.csv"]) == 2
    assert "is for the task 'rhythm-wavelet', not 'rhythm'" in capsys.readouterr().err


def run_source():
    return type(SYNTHETIC_HOLTER)(**{**vars(SYNTHETIC_HOLTER), "n_records": 25})


def test_the_card_names_the_filter(folder):
    text = (folder / "weights" / "fedavg.md").read_text()
    assert "removed by wavelets" in text
    assert "band-pass 0.5" not in text


def test_a_run_that_is_stopped_in_its_second_round_goes_on_to_the_same_weights(
    folder, tmp_path, monkeypatch
):
    fit, trainings = local_training.fit, iter(range(3))  # of two sites in a round

    def stopped_after_a_while(*given, **named):
        if next(trainings, None) is None:
            raise KeyboardInterrupt
        return fit(*given, **named)

    flags = ["--filter", "wavelet", "--imbalance", "oversampled", "--simulated-rare", "3"]
    flags += ["--model", "cnn_simple", "--out", str(tmp_path), "--name", "b"]
    monkeypatch.setattr(local_training, "fit", stopped_after_a_while)
    assert run_sim.main([*FLAGS, *flags]) == 1
    monkeypatch.setattr(local_training, "fit", fit)
    simulated_recordings._simulated.cache_clear()  # as in a new process
    assert run_sim.main(["--resume", str(tmp_path / "b"), "--quiet", "--no-pages"]) == 0
    last = "weights/fedavg-last.safetensors"
    assert (tmp_path / "b" / last).read_bytes() == (folder / last).read_bytes()


def test_every_remedy_for_beats_trains_in_a_run(tmp_path):
    flags = ["--task", "beat", "--imbalance", "smote", "--simulated-rare", "2", "--site-folds", "0"]
    flags += ["--augment", "gain,shift", "--dropout", "0.3", "--filter", "wavelet", "--rounds", "1"]
    folder = run(tmp_path, "beats", *flags)
    facts = json.loads((folder / "run.json").read_text())
    assert facts["config"]["task"] == "beat-wavelet"
    assert "simulated" not in (folder / "predictions.csv").read_text()
