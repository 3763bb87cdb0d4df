"""Tables of a comparison count people, and say what was met and what was missed."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.studies.comparison_tables import (
    ClassOnUnseen,
    cell,
    on_unseen,
    seed_folders,
    sites_above_lines,
)
from fl.evaluation.predictions import Predictions, write_predictions
from fl.evaluation.seed_summary import SeedSummary
from fl.runs.results import write_seeds
from fl.util.errors import ConfigError


def lines(decided, patients, folds=None):
    n = len(decided)
    return Predictions(
        classes=("AF",),
        strategy=np.full(n, "pooled"),
        source=np.full(n, "ptbxl"),
        record=np.arange(n).astype(str),
        patient=np.array(patients),
        site=np.full(n, "unseen"),
        split=np.full(n, "test"),
        labels=np.array([[1], *[[0]] * (n - 2), [-1]], np.int8),
        probabilities=np.full((n, 1), 0.5),
        decided=np.array(decided)[:, None],
        fold=np.array(folds or [""] * n),
    )


def test_each_patient_of_the_unseen_source_counts_once(tmp_path):
    # Patient a has two records, one with the class; c's record does not annotate it.
    found = lines([True, False, True, True], ["a", "a", "b", "c"])
    write_predictions(tmp_path / "predictions.csv", found)
    (af,) = on_unseen(tmp_path, SimpleNamespace(classes=("AF",)), "pooled")["AF"]
    assert (af.prevalence, af.predicted) == (0.5 / 2, 1.5 / 2)


def test_each_fold_has_a_model_of_its_own(tmp_path):
    found = lines([True, True, False, False], list("abab"), ["1", "1", "2", "2"])
    write_predictions(tmp_path / "predictions.csv", found)
    models = on_unseen(tmp_path, SimpleNamespace(classes=("AF",)), "pooled")["AF"]
    assert [model.predicted for model in models] == [1.0, 0.0]


@pytest.mark.parametrize(("predicted", "within"), [(0.25, True), (0.2501, False)])
def test_a_class_is_within_its_limit_up_to_twice_its_prevalence_and_a_twentieth(predicted, within):
    assert ClassOnUnseen(prevalence=0.1, predicted=predicted).within is within


def test_sites_above_are_listed_for_each_seed():
    def run(n_above):
        row = SimpleNamespace(
            strategy="fedavg", against="local", metric="macro_f1", n_above=n_above, n_sites=8
        )
        return SimpleNamespace(comparison=SimpleNamespace(sites_above=[row]))

    assert (
        sites_above_lines([run(8), run(7)])[-1] == "| fedavg | local | macro-F1 | 8 of 8, 7 of 8 |"
    )


def test_a_cell_is_the_mean_over_the_seeds_that_were_measured():
    assert cell([0.5, None, 0.7]) == ".600 (.500 to .700)"
    assert cell([None]) == "n/a"


def seeds_folder(parent, seed, **config):
    """A parent of one seed, as far as its settings go."""
    folder = parent / f"seed-{seed}"
    folder.mkdir(parents=True)
    none = {"task": "rhythm", "synthetic": True, "strategies": {}, "differences": ()}
    summary = SeedSummary(seeds=(seed,), **none)
    write_seeds(parent, summary)
    record = {"config": {"seed": seed, "rounds": 20, "workers": 2} | config}
    (folder / "run.json").write_text(json.dumps(record))
    return parent


def test_seeds_of_several_folders_are_one_table_if_their_settings_agree(tmp_path):
    a = seeds_folder(tmp_path / "a", 12, workers=1)
    b = seeds_folder(tmp_path / "b", 10)
    assert list(seed_folders([a, b])) == [10, 12]
    other = seeds_folder(tmp_path / "c", 11, rounds=30)
    with pytest.raises(ConfigError, match="rounds differ"):
        seed_folders([a, b, other])
    with pytest.raises(ConfigError, match="seed 12 is in"):
        seed_folders([a, b, a])
