"""The rhythm benchmarks: patients tested once, choices from validation, tables that say so."""

import os
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.speed import memory
from benchmarks.studies import federated, rhythm
from benchmarks.studies.ablation import RECIPES, difference_table
from benchmarks.studies.rhythm import CANDIDATES, PROPOSED, Study, validation_row
from benchmarks.studies.rhythm_cv import N_FOLDS, Recipe, fold_rows, folds, opened, run_missing
from benchmarks.studies.rhythm_tables import choice_table, named, result_tables
from fl.config.config_file import load_config
from fl.models import MODELS


@pytest.fixture(scope="module")
def study(few, tmp_path_factory):
    """Five folds of the few recordings, trained for one epoch."""
    shards = tuple(shard.path for shard in few.shards)
    made = Study(shards, tmp_path_factory.mktemp("work"), 1, "cpu", 0)
    made.train({"tiny": TINY}, range(N_FOLDS))
    return made


TINY = Recipe(model="resnet1d", epochs=1, batch_size=8)


def test_every_patient_is_tested_once_and_never_trained_on_when_tested(cohort):
    of = folds(cohort, 0)
    tested_rows = []
    for fold in range(N_FOLDS):
        rows = fold_rows(cohort, fold, 0)
        assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(len(cohort)))
        sets = [set(cohort.patients[rows[s]].tolist()) for s in ("train", "val", "test")]
        assert sum(len(s) for s in sets) == len(set().union(*sets))
        assert (of[rows["test"]] == fold).all()
        tested_rows += rows["test"].tolist()
    assert sorted(tested_rows) == list(range(len(cohort)))


def test_a_class_that_enough_patients_have_is_in_every_fold(cohort):
    of = folds(cohort, 0)
    for c in range(cohort.labels.shape[1]):
        patients = set(cohort.patients[cohort.labels[:, c] == 1].tolist())
        if len(patients) >= 4 * N_FOLDS:
            assert set(of[cohort.labels[:, c] == 1].tolist()) == set(range(N_FOLDS))


def test_finished_folds_are_not_trained_again(study):
    assert list(run_missing(study.jobs(TINY, range(N_FOLDS)), 1)) == []
    other = study.jobs(replace(TINY, lr=1e-3), [0])
    assert not other[0].path.exists()


def test_the_tables_hold_what_was_measured(study):
    cohort = opened(study.shards)
    row = validation_row(study, cohort, TINY, range(N_FOLDS))
    found = rhythm.tested(study, cohort, TINY)
    content = {"results": {"choice/tiny": row, "test/tiny": found}}
    (source,) = found["sources"]
    assert found["sources"][source]["n_records"] == len(cohort)
    text = "\n".join([*choice_table(content), *result_tables(content)])
    assert f"{row['size']:,}" in text
    assert source in text
    assert found["official"]["n"] == (cohort.column("first_labels") != "").sum()


def test_several_networks_are_judged_by_the_mean_of_their_probabilities(study, monkeypatch):
    cohort = opened(study.shards)
    alone = rhythm.tested(study, cohort, TINY)
    twice = rhythm.tested(study, cohort, TINY, TINY)
    assert (twice["sources"], twice["official"]) == (alone["sources"], alone["official"])
    assert twice["size"] == 2 * alone["size"]
    honest, turns = rhythm.kept, iter(range(100))

    def one_or_sure(job):
        """Every second network says 1 of everything: half of that, half of the first's."""
        found = honest(job)
        return found | {"test_p": np.ones_like(found["test_p"])} if next(turns) % 2 else found

    monkeypatch.setattr(rhythm, "kept", one_or_sure)
    half = rhythm.tested(study, cohort, TINY, TINY)
    (source,) = alone["sources"]
    found, other = alone["sources"][source], half["sources"][source]
    assert other["macro_auroc"] == found["macro_auroc"]
    assert other["macro_brier"] != found["macro_brier"]


def test_a_choice_never_reads_the_tested_patients(study, monkeypatch):
    """The validation row is the same whatever was said of the tested."""
    cohort, honest = opened(study.shards), rhythm.kept

    def spoiled(job):
        return dict(honest(job)) | {"test_p": None, "test_rows": None}

    row = validation_row(study, cohort, TINY, [0])
    monkeypatch.setattr(rhythm, "kept", spoiled)
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
        return {"loss": 0.3, "sources": {"mitdb": auroc}, "seconds": 1.0}

    content = {"results": {"as shipped/0": result(0.8), "as shipped/1": result(0.9)}}
    assert "| as shipped | 2 | 0.850 (0.800 to 0.900) |" in "\n".join(federated.table(content))


def test_rounds_are_counted_as_they_are_written(tmp_path):
    table = tmp_path / "rounds.csv"
    assert memory.rounds_done(table) == 0
    table.write_text("strategy,round\nfedavg,1\nfedavg,2\n")
    assert memory.rounds_done(table) == 2
    assert memory.memory_of(os.getpid()) > 2**20


def test_names_are_found_by_prefix():
    assert named({"results": {"val/a": 1, "test/a": 2}}, "test") == {"a": 2}


@pytest.mark.parametrize("name", federated.STUDY)
def test_every_row_of_the_federated_study_makes_as_many_passes(name):
    base = {"model": "resnet1d", "rounds": 10, "local_epochs": 3}
    config = load_config(federated.settings_of(name, base))
    assert config.rounds * config.local_epochs == 30
