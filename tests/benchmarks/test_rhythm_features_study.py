"""The study of rhythm features, and the command that trains their network of beats."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.studies import rhythm_beat_model as beat_model
from benchmarks.studies import rhythm_features as study
from fl.data.cohort import Cohort
from fl.data.example_cache import prepare
from fl.datasets.synthetic import SYNTHETIC, SYNTHETIC_HOLTER
from fl.ecg.beat_features import FEATURES
from fl.ecg.rhythm.beat_scores import WEIGHTS, probabilities, shipped_weights


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    source = replace(SYNTHETIC, n_records=120)
    return Cohort.open(study.TASK, [prepare(source, folder, study.TASK, folder)])


def test_rate_and_irregularity_tell_fibrillation_in_patients_who_did_not_train(cohort):
    scores = study.held_out_scores(cohort, study.columns_of(["rr"]))
    found, positive = study.auroc(cohort, scores, study.TASK.classes.index("AF"))
    assert positive >= study.MIN_PATIENTS
    assert found > 0.9
    lines = list(study.table(cohort, "synthetic", {"rr": scores}))
    assert lines[-1].startswith("| patients with it |")
    assert f"{found:.3f}" in lines[-2]


def test_a_patient_with_many_windows_counts_once():
    weights = study.weights_by_patient(np.array(["a", "a", "a", "b"]))
    assert weights == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1])


def test_a_class_of_few_patients_is_not_measured(cohort):
    few = cohort.take(np.arange(8))
    value, _ = study.auroc(few, np.zeros((8, 9)), 0)
    assert np.isnan(value)


def test_the_beat_network_learns_what_it_is_shown(monkeypatch):
    monkeypatch.setattr(beat_model, "STEPS", 60)
    source = replace(SYNTHETIC_HOLTER, n_records=8, seconds=(60.0, 60.0))
    names = source.record_names(None)
    parts = [beat_model.beats_of(source.read(None, n), i, 100 * i) for i, n in enumerate(names)]
    parts = [part for part in parts if part is not None]
    columns = vars(parts[0])
    beats = beat_model.Beats(
        **{name: np.concatenate([vars(p)[name] for p in parts]) for name in columns}
    )
    weights = beat_model.train(beats, 1)
    assert all(np.array_equal(weights[n], v) for n, v in beat_model.train(beats, 1).items())
    p = probabilities(weights, beats.features)
    assert (p.argmax(axis=1) == beats.classes).mean() > 0.8
    card = beat_model.card(beats, {"beats S": (0.9, 0.01)})
    assert "ODC-By" in card
    assert "| beats S | 0.900 | 0.010 |" in card


def test_the_shipped_weights_are_small_and_of_the_shape_that_is_trained():
    weights = shipped_weights()
    assert weights["mlp.0.weight"].shape == (beat_model.NETWORK.hidden, len(FEATURES))
    assert sum(value.nbytes for value in weights.values()) < 50_000
    assert WEIGHTS.endswith(".safetensors")
