"""The study of transfer to infarctions: its commands, and its table from made predictions."""

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.studies import infarction as study
from fl.evaluation.predictions import Predictions, write_predictions

SEEDS = (0, 1)
OPTIONS = SimpleNamespace(clients=4, folds=3, seeds="0,1", flags="--rounds 1")


def made(path, seed):
    """Sixty patients at two sites, ten of them positive, and some central ones."""
    rng = np.random.default_rng(seed)
    n = 70
    site = np.array(["site-1"] * 30 + ["site-2"] * 30 + ["central"] * 10)
    labels = (np.arange(n) % 6 == 0).astype(np.int8)[:, None]
    parts = []
    for strategy, skill in (("fedavg", 0.2), ("pooled", 0.6), ("local-site-1", 0.0)):
        p = np.clip(skill * labels + 0.4 * rng.random((n, 1)), 0, 1).round(7)
        parts.append(
            Predictions(
                classes=("MI",),
                strategy=np.full(n, strategy),
                source=np.full(n, "ptbxl"),
                record=np.array([f"{i:05d}" for i in range(n)]),
                patient=np.array([f"ptbxl:{i}" for i in range(n)]),
                site=site,
                split=np.full(n, "test"),
                labels=labels,
                probabilities=p,
                decided=p >= 0.5,
                fold=np.full(n, "1"),
            )
        )
    path.parent.mkdir(parents=True)
    write_predictions(path, Predictions.joined(parts, ("MI",)))


@pytest.fixture
def folder(tmp_path):
    for seed in SEEDS:
        made(tmp_path / "run" / f"seed-{seed}" / "predictions.csv", seed)
    return tmp_path / "run"


def test_measures_are_of_the_sites_patients_alone(folder):
    found = study.measured(folder, "pooled", SEEDS)
    assert (found["patients"], found["positive_patients"]) == (60, 10)
    assert found["recordings"] == [60, 60]
    assert found["macro_auroc"]["value"] == pytest.approx(np.mean(found["macro_auroc"]["seeds"]))
    assert (
        found["macro_auroc"]["value"]
        > study.measured(folder, "fedavg", SEEDS)["macro_auroc"]["value"]
    )


@pytest.mark.parametrize("name", study.MEASURES)
def test_an_interval_holds_its_figure(folder, name):
    figure = study.measured(folder, "fedavg", SEEDS)[name]
    assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1
    assert figure["low"] < figure["high"]


def test_accuracy_is_that_of_recordings(folder):
    part = study._at_sites(folder / "seed-0" / "predictions.csv", "fedavg")
    expected = np.mean(part.decided[:, 0] == (part.labels[:, 0] == 1))
    assert study.measured(folder, "fedavg", SEEDS)["accuracy"]["seeds"][0] == expected


def test_the_table_has_a_row_for_every_training_that_is_measured(folder):
    rows = {
        f"mi/{way}/{training}": study.measured(folder, training, SEEDS)
        for way in study.WAYS
        for training in study.TRAININGS
    }
    text = "\n".join(study.table(rows))
    assert text.count("| beats of lead II") == 6
    assert "12 leads" not in text
    assert "n/a" not in text
    text = "\n".join(study.explanation(rows, 2, 3))
    assert "random split of beats" in text
    assert "60 patients, 10 of them with an infarction" in text


def test_the_three_ways_to_start(tmp_path):
    chosen, weights = study.INPUTS[0], tmp_path / "w.safetensors"
    flags = {way: study.arm_flags(chosen, way, weights, OPTIONS) for way in study.WAYS}
    assert "--init-from" not in flags["from scratch"]
    assert flags["all weights"][-2:] == ["--init-from", str(weights)]
    assert flags["dense layers alone"][-2:] == ["--freeze", "features"]
    assert "--rounds" in flags["all weights"]


def test_a_completed_run_is_kept_and_a_failed_one_is_named(tmp_path):
    options = SimpleNamespace(work=tmp_path, data_dir=tmp_path / "none")
    done = tmp_path / "done"
    done.mkdir()
    (done / "run.json").write_text('{"status": "completed"}')
    assert study.run("done", [], options) == done
    with pytest.raises(study.ConfigError, match="the run other failed"):
        study.run("other", ["--task", "nonsense"], options)
