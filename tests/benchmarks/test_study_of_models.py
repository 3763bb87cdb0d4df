"""The study of all networks: its flags, confusion matrices, tables and the split that leaks."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from support.made_cohorts import made_cohort

import run_sim
from benchmarks.studies.models.confusion import confusion_figure, shares
from benchmarks.studies.models.epoch_time import NEIGHBOURS, TIMED, timed_examples
from benchmarks.studies.models.random_split import measure_random_split
from benchmarks.studies.models.settings import SETTINGS, flags, networks_of
from benchmarks.studies.models.tables import TRAININGS, table
from fl.data.cohort import Cohort
from fl.data.example_cache import prepare
from fl.datasets.synthetic import SYNTHETIC_HOLTER
from fl.ecg.tasks import TASKS
from fl.evaluation.predictions import Predictions


def predictions(labels, decided, classes):
    labels = np.array(labels, dtype=np.int8)
    n = len(labels)
    texts = dict.fromkeys(("strategy", "source", "record", "patient", "site", "split", "fold"))
    return Predictions(
        classes=classes,
        labels=labels,
        probabilities=np.zeros(labels.shape),
        decided=np.array(decided, dtype=bool),
        **dict.fromkeys(texts, np.full(n, "x")),
    )


@pytest.mark.parametrize("task", SETTINGS)
def test_every_network_of_a_task_gets_flags_that_the_simulation_accepts(task):
    networks = networks_of(task)
    assert TASKS[task].model in networks
    assert not [name for name in networks if name.endswith("_large")]
    config, _ = run_sim.settings(flags(task, networks[0], 3))
    # The rhythm networks are compared on the signal alone.
    trained = "rhythm-signal" if task == "rhythm" else task
    assert (config.task, config.model, config.seed) == (trained, networks[0], 3)
    assert config.rounds * config.local_epochs == SETTINGS[task].passes


def test_a_row_of_exclusive_classes_sums_to_one():
    found = predictions(
        [[1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0]],
        [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0]],
        ("N", "S", "V"),
    )
    share, rows, columns = shares(found, exclusive=True)
    assert rows == columns == ["N", "S", "V"]
    assert np.allclose(share[0], [2 / 3, 1 / 3, 0])
    assert np.allclose(share[1], [0, 1, 0])
    assert np.isnan(share[2]).all()


def test_a_class_that_is_not_annotated_is_not_counted_as_absent():
    found = predictions([[1, -1], [1, 0], [0, 0]], [[1, 1], [0, 1], [0, 0]], ("AF", "STE"))
    share, rows, _ = shares(found, exclusive=False)
    assert rows == ["AF", "STE", "none"]
    assert share[0].tolist() == [0.5, 1.0, 0.0]  # STE: of the one record that annotates it
    assert share[2].tolist() == [0.0, 0.0, 1.0]


def test_the_figure_has_one_matrix_for_each_network():
    found = predictions([[1, 0], [0, 1]], [[1, 0], [1, 0]], ("N", "S"))
    drawn = confusion_figure({"lstm": found, "cnn1d": found}, True, "beats").decode()
    assert ET.fromstring(drawn).tag.endswith("svg")
    assert "lstm" in drawn
    assert "cnn1d" in drawn


def test_the_table_has_as_many_cells_as_titles_and_marks_the_split_that_leaks():
    measures = {"accuracy": 0.9, "macro_f1": None, "macro_auroc": 0.8}
    result = {
        "parameters": 1234,
        "seconds_per_pass": 2.0,
        "trainings": dict.fromkeys(TRAININGS, measures),
        "random_split": measures,
        "n_test": 10,
        "n_patients": 2,
        "macro_classes": ["N"],
    }
    lines = table("beat", {"cnn1d": result}, 1)
    head, rule, row = lines[-3:]
    assert head.count("|") == rule.count("|") == row.count("|")
    assert "leaks" in head
    assert "n/a" in row
    assert "1,234" in row
    assert "leaks" not in "".join(table("rhythm", {"cnn1d": result}, 1))


def test_the_random_split_tests_a_fifth_of_the_beats(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.studies.models.random_split.SOURCE", SYNTHETIC_HOLTER.card.name)
    task = TASKS["beat"]
    source = type(SYNTHETIC_HOLTER)(**{**vars(SYNTHETIC_HOLTER), "n_records": 4, "n_patients": 4})
    cohort = Cohort.open(task, [prepare(source, tmp_path, task, tmp_path / "cache")])
    found = measure_random_split(cohort, "beat_mlp", seed=1)
    assert found["n"] == round(0.2 * len(cohort)) == np.sum(found["confusion"])
    assert found["accuracy"] == pytest.approx(np.trace(found["confusion"]) / found["n"])
    assert found == measure_random_split(cohort, "beat_mlp", seed=1)


def test_time_is_taken_over_neighbours_of_several_recordings():
    recordings = np.repeat([f"R{i}" for i in range(9)], 100)
    cohort = made_cohort(np.repeat("a", 900), recordings=recordings)
    taken = timed_examples(cohort, 5)
    assert len(taken) == TIMED
    starts = taken.reshape(-1, NEIGHBOURS)
    assert (np.diff(starts, axis=1) == 1).all()
    assert len(np.unique(recordings[taken])) == TIMED // NEIGHBOURS
    assert taken.tolist() == timed_examples(cohort, 5).tolist()


def test_time_is_taken_over_all_examples_where_there_are_few():
    cohort = made_cohort("abc")
    assert timed_examples(cohort, 5).tolist() == [0, 1, 2]
