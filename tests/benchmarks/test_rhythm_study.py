"""The rhythm studies: every patient is tested once, and choices are made on validation."""

import os
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.speed import memory
from benchmarks.studies import federated, rhythm
from benchmarks.studies.ablation import RECIPES, difference_table
from benchmarks.studies.rhythm import CANDIDATES, PROPOSED, Study, validation_row
from benchmarks.studies.rhythm_cv import (
    N_FOLDS,
    RhythmRecipe,
    fold_rows,
    folds,
    opened,
    run_missing,
)
from benchmarks.studies.rhythm_tables import choice_table, named, result_tables
from fl.config.config_file import load_config
from fl.data.example_cache import prepare
from fl.datasets.synthetic import SYNTHETIC_HOLTER
from fl.ecg.tasks import RHYTHM_SIGNAL
from fl.models import MODELS


@pytest.fixture(scope="module")
def study(cache_dir, tmp_path_factory):
    """Five folds of 24 short recordings, trained for one epoch."""
    source = replace(SYNTHETIC_HOLTER, n_records=24, seconds=(10.0, 12.0))
    path = prepare(source, tmp_path_factory.mktemp("no"), RHYTHM_SIGNAL, cache_dir)
    small = Study((path,), tmp_path_factory.mktemp("work"), 1, "cpu", 0)
    small.train({"tiny": TINY}, range(N_FOLDS))
    return small


TINY = RhythmRecipe(model="resnet1d", epochs=1, batch_size=8)


def test_every_patient_is_tested_once_and_never_trained_on_when_tested(cohort):
    fold_of = folds(cohort, 0)
    tested_rows = []
    for fold in range(N_FOLDS):
        rows = fold_rows(cohort, fold, 0)
        assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(len(cohort)))
        sets = [set(cohort.patients[rows[s]].tolist()) for s in ("train", "val", "test")]
        assert sum(len(s) for s in sets) == len(set().union(*sets))
        assert (fold_of[rows["test"]] == fold).all()
        tested_rows += rows["test"].tolist()
    assert sorted(tested_rows) == list(range(len(cohort)))


def test_a_class_that_enough_patients_have_is_in_every_fold(cohort):
    fold_of = folds(cohort, 0)
    for c in range(cohort.labels.shape[1]):
        patients = set(cohort.patients[cohort.labels[:, c] == 1].tolist())
        if len(patients) >= 4 * N_FOLDS:
            assert set(fold_of[cohort.labels[:, c] == 1].tolist()) == set(range(N_FOLDS))


def test_finished_folds_are_not_trained_again(study):
    assert list(run_missing(study.jobs(TINY, range(N_FOLDS)), 1)) == []
    other = study.jobs(replace(TINY, lr=1e-3), [0])
    assert not other[0].path.exists()


def test_the_tables_hold_the_results(study):
    cohort = opened(study.shards)
    row = validation_row(study, cohort, TINY, range(N_FOLDS))
    result = rhythm.tested(study, cohort, TINY)
    content = {"results": {"choice/tiny": row, "test/tiny": result}}
    (source,) = result["sources"]
    assert result["sources"][source]["n_records"] == len(cohort)
    text = "\n".join([*choice_table(content), *result_tables(content, "curve.svg")])
    assert f"{row['size']:,}" in text
    assert source in text
    assert result["official"]["n"] == (cohort.column("first_labels") != "").sum()


def test_several_networks_are_tested_by_the_mean_of_their_probabilities(study, monkeypatch):
    cohort = opened(study.shards)
    once = rhythm.tested(study, cohort, TINY)
    twice = rhythm.tested(study, cohort, TINY, TINY)
    assert (twice["sources"], twice["official"]) == (once["sources"], once["official"])
    assert twice["size"] == 2 * once["size"]
    original, turns = rhythm.stored_fold, iter(range(100))

    def every_second_is_certain(job):
        """Every second network predicts 1 for every class, so the mean is half of that."""
        fold = original(job)
        return fold | {"test_p": np.ones_like(fold["test_p"])} if next(turns) % 2 else fold

    monkeypatch.setattr(rhythm, "stored_fold", every_second_is_certain)
    mixed = rhythm.tested(study, cohort, TINY, TINY)
    (source,) = once["sources"]
    # Each fold is calibrated by itself, which changes no order inside the fold.
    for one, other in zip(mixed["folds"], once["folds"], strict=True):
        assert one[source] == pytest.approx(other[source], abs=1e-3)
    assert mixed["sources"][source]["macro_brier"] != once["sources"][source]["macro_brier"]


def test_a_choice_never_reads_the_tested_patients(study, monkeypatch):
    """The validation row does not change if the test predictions are missing."""
    cohort, original = opened(study.shards), rhythm.stored_fold

    def without_test(job):
        return dict(original(job)) | {"test_p": None, "test_rows": None}

    row = validation_row(study, cohort, TINY, [0])
    monkeypatch.setattr(rhythm, "stored_fold", without_test)
    assert validation_row(study, cohort, TINY, [0]) == row


def test_every_switch_and_candidate_builds():
    for recipe in (*RECIPES.values(), *CANDIDATES.values(), PROPOSED):
        assert recipe.model in MODELS
        assert recipe.size > 50_000


def test_an_ablation_is_the_difference_on_the_same_fold():
    def row(values):
        return {
            "folds": [
                {"fold": k, "sources": {"mitdb": {"macro_auroc": v}}} for k, v in enumerate(values)
            ]
        }

    lines = difference_table({"whole": row([0.8, 0.9]), "off": row([0.7, 0.85])})
    assert "| off | n/a | n/a | -0.075 (-0.100 to -0.050) |" in lines


def test_a_row_of_the_federated_study_is_the_mean_over_seeds():
    def result(auroc):
        sources = {"mitdb": auroc, "cpsc2018": 0.4, "georgia": None}
        patients = {"mitdb": 3, "cpsc2018": 1, "georgia": 9}
        return {"loss": 0.3, "sources": sources, "patients": patients, "seconds": 1.0}

    content = {"results": {"as shipped/0": result(0.8), "as shipped/1": result(0.9)}}
    line = federated.table(content)[-1]
    assert "| as shipped | 2 | 0.850 (0.800 to 0.900) | 0.400 (0.400 to 0.400) | n/a |" in line
    assert "| 0.738 (0.700 to 0.775) |" in line  # by patients, where it can be measured


def test_rounds_are_counted_as_they_are_written(tmp_path):
    table = tmp_path / "rounds.csv"
    assert memory.rounds_done(table) == 0
    table.write_text("strategy,round\nfedavg,1\nfedavg,2\n")
    assert memory.rounds_done(table) == 2
    assert memory.memory_of(os.getpid()) > 2**20


def test_results_are_selected_by_prefix():
    assert named({"results": {"val/a": 1, "test/a": 2}}, "test") == {"a": 2}


@pytest.mark.parametrize("name", federated.STUDY)
def test_every_row_of_the_federated_study_makes_as_many_passes(name):
    base = {"model": "resnet1d", "rounds": 10, "local_epochs": 3}
    config = load_config(federated.settings_of(name, base))
    assert config.rounds * config.local_epochs == 30


@pytest.mark.parametrize("kind", ["", "pooled", "local"])
def test_every_kind_of_training_has_a_row_of_half_and_of_double_the_rate(kind):
    names = [name for name in federated.STUDY if federated.baseline_of(name) == kind]
    assert any(not federated.STUDY[name] for name in names)
    rates = [federated.STUDY[name]["lr"] for name in names if "rate ." in name]
    assert rates == [0.001, 0.004]
