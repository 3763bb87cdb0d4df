"""Networks that read features, and rows of beats, through a whole federation."""

import numpy as np
import pytest
from safetensors.numpy import load_file
from support.recomputed import table

import run_sim
from fl.ecg.labels import BEAT_CLASSES

FLAGS = [
    *("--data", "synthetic", "--synthetic-records", "60", "--clients", "2", "--rounds", "2"),
    *("--task", "beat", "--site-folds", "0", "--quiet", "--no-pages"),
]


def run(out, model, engine):
    """The run's folder."""
    flags = ["--model", model, "--engine", engine, "--workers", "2"]
    name = f"{model}-{engine}"
    assert run_sim.main([*FLAGS, *flags, "--out", str(out), "--name", name]) == 0
    return out / name


@pytest.mark.slow
def test_rows_of_beats_give_the_same_bits_in_process_and_in_workers(tmp_path):
    here, workers = (run(tmp_path, "beat_gru", engine) for engine in ("local", "ray"))
    for file in ("weights/fedavg-last.safetensors", "predictions.csv", "summary.json"):
        assert (here / file).read_bytes() == (workers / file).read_bytes(), file


@pytest.mark.parametrize("model", ["beat_mlp", "beat_gru_causal"])
def test_every_beat_of_the_test_is_predicted_once(model, tmp_path):
    folder = run(tmp_path, model, "local")
    weights = load_file(folder / "weights" / "fedavg-last.safetensors")
    assert all(np.isfinite(values).all() for values in weights.values())
    tested = [row for row in table(folder / "partition.csv") if row["split"] == "test"]
    predicted = table(folder / "predictions.csv")
    named = [{(row["source"], row["record"]) for row in rows} for rows in (tested, predicted)]
    assert named[0] == named[1]
    assert len(predicted) == len(tested) == len(named[0]) > 0
    p = np.array([[float(row[f"p_{c}"]) for c in BEAT_CLASSES] for row in predicted])
    assert ((p >= 0) & (p <= 1)).all()
    assert len(np.unique(p, axis=0)) > len(p) / 2
