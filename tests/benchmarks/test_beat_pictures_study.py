"""The study of beats as pictures, and the benchmark that draws them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from support.made_cohorts import made_cohort

from benchmarks.speed import beat_pictures
from benchmarks.studies.beat_pictures import __main__ as study
from benchmarks.studies.beat_pictures.tables import accuracy, figure, macro_f1, per_class, table
from benchmarks.studies.beat_pictures.trainings import (
    Recipe,
    choosing_splits,
    patient_split,
    random_split,
    result_of,
)
from fl.data.cohort import Cohort
from fl.data.shards import shard_in_memory
from fl.datasets.mitdb import DS1, DS2, PACED, PACED_TEST
from fl.datasets.synthetic import SYNTHETIC_HOLTER, with_seven_beats
from fl.ecg.tasks import BEAT7

RECORDS = np.repeat([*DS1, *DS2, *PACED], 30)
# 201 and 202 are one man
PATIENTS = np.where(RECORDS == "202", "201", RECORDS)


@pytest.fixture
def cohort():
    labels = [[i % 7] for i in range(len(RECORDS))]
    return made_cohort(PATIENTS, labels, source="mitdb", task=BEAT7, recordings=RECORDS)


def test_the_random_split_leaks_and_says_so_in_its_name(cohort):
    split = random_split(cohort, 0)
    assert [len(split.train), len(split.validation), len(split.test)] == [1152, 144, 144]
    assert len({*split.train, *split.validation, *split.test}) == len(cohort)
    assert set(cohort.patients[split.test]) <= set(cohort.patients[split.train])
    assert "leaks" in study.RANDOM


def test_patients_are_apart_and_the_paced_ones_on_both_sides(cohort):
    split = patient_split(cohort)
    records = cohort.column("recordings")
    assert not set(cohort.patients[split.train]) & set(cohort.patients[split.test])
    assert set(records[split.test]) == {*DS2, *PACED_TEST, "201"}
    assert set(records[split.train]) == {*DS1, "102", "107"} - {"201"}


def test_settings_are_chosen_within_the_training_patients(cohort):
    allowed = set(patient_split(cohort).train)
    halves = choosing_splits(cohort, 0)
    for split in halves:
        assert {*split.train, *split.validation} == allowed
        assert not set(cohort.patients[split.train]) & set(cohort.patients[split.validation])
    assert not set(halves[0].validation) & set(halves[1].validation)


def test_measures_of_a_confusion_matrix_by_hand():
    counts = np.zeros((7, 7), dtype=np.int64)
    counts[0, :2], counts[1, :2] = (80, 20), (10, 90)
    assert accuracy(counts) == 0.85
    assert per_class(counts)[0] == (0.8, 80 / 90, pytest.approx(160 / 190))
    assert per_class(counts)[2] == (None, None, None)
    assert macro_f1(counts) == pytest.approx((160 / 190 + 180 / 210) / 2)
    lines = table({"one": {"confusion": counts.tolist(), "patients": [4, 1, 0, 0, 0, 0, 0]}})
    assert "| accuracy | 85.00% |" in lines
    assert "| L left bundle branch block, Se / +P | 90.0% / 81.8% (100 of 1 patient) |" in lines
    assert "| E ventricular escape, Se / +P | none tested |" in lines


def synthetic_beats():
    source = with_seven_beats(replace(SYNTHETIC_HOLTER, n_records=6))
    records = [source.read(None, name) for name in source.record_names(None)]
    return Cohort.of(BEAT7, [shard_in_memory(BEAT7, r, BEAT7.make_examples(r)) for r in records])


def test_a_training_tests_every_beat_of_the_test_once(capsys):
    beats = synthetic_beats()
    split = random_split(beats, 0)
    result = result_of(beats, split, Recipe(model="cnn2d", passes=2, lr=1e-3, per_recording=2), 0)
    assert np.sum(result["confusion"]) == len(split.test)
    np.testing.assert_array_equal(
        np.sum(result["confusion"], axis=1), beats.labels[split.test].sum(axis=0)
    )
    assert capsys.readouterr().out.count("validation beats right") == 2
    assert figure({"one": result}).startswith(b"<?xml")


def test_a_run_of_another_task_is_a_mistake_of_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(study, "mitdb_beats", lambda data, cache: synthetic_beats())
    (tmp_path / "run.json").write_text(json.dumps({"config": {"task": "beat"}}))
    flags = ["--json", str(tmp_path / "r.json"), "--only", "random", "--passes", "1"]
    monkeypatch.setattr(study, "result_of", lambda *_: {"confusion": [], "patients": []})
    assert study.main([*flags, "--runs", str(tmp_path)]) == 2
    assert "the run is of the task 'beat', not 'beat7'" in capsys.readouterr().err
    assert study.main([*flags, "--runs", str(tmp_path / "none")]) == 2
    assert "no run.json there" in capsys.readouterr().err


def test_the_benchmark_draws_at_least_2000_beats_a_second_of_processor_time():
    rates = beat_pictures.measure(3)
    assert rates["drawn"] > 2000
    assert len(beat_pictures.table(rates).splitlines()) == 2 + len(rates) == 5
