"""Predictions come back from their file as they were, and a wrong file is named with its fault."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import measures

from fl.evaluation import predictions as module
from fl.evaluation import predictions_csv
from fl.evaluation.predictions import (
    KEYS,
    VALUES,
    Predictions,
    read_predictions,
    write_predictions,
)
from fl.util.errors import DataError

CLASSES = ("AF", "I-AVB", "PVC")
HEADER = (
    "strategy,source,record,patient,site,split,y_AF,y_I-AVB,y_PVC,p_AF,p_I-AVB,p_PVC,"
    "d_AF,d_I-AVB,d_PVC,fold"
)
KEYS_OF_LINE = "fedavg,cpsc2018,A0001,cpsc2018:A0001,site-1,test"
LINE = f"{KEYS_OF_LINE},1,,0,0.5000000,0.2500000,0.1250000,1,0,0,"


def assert_same(one, other):
    assert one.classes == other.classes
    for name in (*KEYS, *VALUES):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@given(measures.predictions())
def test_a_file_gives_back_what_was_written(tmp_path_factory, predictions):
    path = tmp_path_factory.mktemp("made") / "folder" / "predictions.csv"
    write_predictions(path, predictions)
    assert_same(read_predictions(path, CLASSES), predictions)


def test_the_file_has_the_agreed_columns_and_seven_decimals(tmp_path):
    path = tmp_path / "predictions.csv"
    path.write_text(f"{HEADER}\n{LINE}\n")
    found = read_predictions(path, CLASSES)
    assert found.labels.tolist() == [[1, -1, 0]]
    assert (found.decided.tolist(), found.fold.tolist()) == ([[True, False, False]], [""])
    assert (found.labels.dtype, found.probabilities.dtype) == (np.int8, np.float64)
    assert found.to_csv() == path.read_text()


def test_a_cohorts_predictions_are_those_that_its_file_gives(cohort, tmp_path):
    p = np.random.default_rng(0).random(cohort.labels.shape)
    made = Predictions.of_cohort(
        cohort, p, p > 0.4, strategy="fedavg", site="central", split="test"
    )
    write_predictions(tmp_path / "predictions.csv", made)
    assert_same(read_predictions(tmp_path / "predictions.csv", cohort.task.classes), made)
    assert made.record.tolist() == cohort.names.tolist()
    assert set(made.site.tolist()) == {"central"}


FAULTS = {
    "other classes": ("strategy,source\n", "columns are not those of the classes AF, I-AVB, PVC"),
    "an empty file": ("", "columns are not those of the classes"),
    "a missing column": (HEADER.replace(",p_PVC", "") + "\n", "see p_PVC"),
    "a short line": (f"{HEADER}\n{LINE}\nfedavg,x\n", "line 3: 2 cells, not 16"),
    "a label": (
        f"{HEADER}\n{LINE.replace('test,1', 'test,2')}\n",
        "line 2: a label or decision is '2'",
    ),
    "a decision": (
        f"{HEADER}\n{LINE.replace(',1,0,0,', ',1,,0,')}\n",
        "line 2: a label or decision is ''",
    ),
    "no number": (
        f"{HEADER}\n{LINE.replace('0.5000000', 'high')}\n",
        "line 2: a probability is no number",
    ),
    "nan": (
        f"{HEADER}\n{LINE.replace('0.5000000', 'nan')}\n",
        "line 2: a probability is not from 0 to 1",
    ),
    "nan beside numbers": (
        f"{HEADER}\n{LINE.replace('0.1250000', 'nan')}\n",
        "line 2: a probability is not from 0 to 1",
    ),
    "negative": (
        f"{HEADER}\n{LINE.replace('0.1250000', '-0.1')}\n",
        "line 2: a probability is not from 0 to 1",
    ),
    "a little too large": (
        f"{HEADER}\n{LINE.replace('0.5000000', '1.0000001')}\n",
        "line 2: a probability is not from 0 to 1",
    ),
    # Beside the digits in ASCII.
    "a slash as label": (
        f"{HEADER}\n{LINE.replace('test,1', 'test,/')}\n",
        "line 2: a label or decision is '/'",
    ),
    "a colon as decision": (
        f"{HEADER}\n{LINE.replace(',1,0,0,', ',1,:,0,')}\n",
        "line 2: a label or decision is ':'",
    ),
    "a colon as digit": (
        f"{HEADER}\n{LINE.replace('0.5000000', '0.50:0000')}\n",
        "line 2: a probability is no number",
    ),
    "a label of two digits": (
        f"{HEADER}\n{LINE.replace('test,1', 'test,10')}\n",
        "line 2: a label or decision is '10'",
    ),
    "far down": (
        f"{HEADER}\n{LINE}\n" + f"{LINE}\n" * 70_000 + f"{LINE[:-1]}\n",
        "line 70003: 15 cells, not 16",
    ),
    "a long line and a short one": (
        f"{HEADER}\n{LINE},1\n{LINE[:-1]}\n",
        "line 2: 17 cells, not 16",
    ),
    "a long line": (f"{HEADER}\n{LINE},1\n", "line 2: 17 cells, not 16"),
    "too large": (
        f"{HEADER}\n{LINE.replace('0.5000000', '1.5')}\n",
        "line 2: a probability is not from 0 to 1",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path, fault):
    content, words = FAULTS[fault]
    path = tmp_path / "predictions.csv"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        read_predictions(path, CLASSES)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)
    assert "cpsc2018:A0001" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "predictions.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"predictions\.csv: cannot be read"):
        read_predictions(path, CLASSES)


@given(st.lists(measures.predictions(), max_size=3))
def test_joined_predictions_are_their_lines_one_after_the_other(parts):
    whole = Predictions.joined(parts, CLASSES)
    lines = [line for part in parts for line in rows(part)[1:]]
    assert rows(whole)[1:] == lines


def rows(predictions):
    return list(csv.reader(io.StringIO(predictions.to_csv(), newline="")))


PLAIN = Predictions(
    classes=CLASSES,
    **{name: np.array([name, "", f"{name} 2"] * 9) for name in (*KEYS, "fold")},
    labels=np.random.default_rng(1).integers(-1, 2, (27, 3)).astype(np.int8),
    probabilities=np.round(np.random.default_rng(2).random((27, 3)), 7),
    decided=np.random.default_rng(3).random((27, 3)) > 0.5,
)


@pytest.fixture
def in_small_blocks(monkeypatch):
    """Ten lines are written, and about two are read, at a time."""
    monkeypatch.setattr(module, "LINES_AT_ONCE", 10)
    monkeypatch.setattr(predictions_csv, "BLOCK", 200)


def by_the_csv_module(predictions, monkeypatch):
    """The text of predictions, with each line written on its own."""
    with monkeypatch.context() as changed:
        changed.setattr(module, "plain_lines", lambda columns: None)
        return predictions.to_csv()


ODD = ["a,b", 'a "b"', "a\nb", "Österreich", "a\0b", "x" * 300, " ", "a\tb"]


@pytest.mark.parametrize("odd", [None, *ODD])
def test_many_lines_at_once_are_those_of_the_csv_module(
    odd, in_small_blocks, tmp_path, monkeypatch
):
    predictions = PLAIN
    if odd:
        site = np.array(["site-1"] * 15 + [odd] + ["site-2"] * 11)
        predictions = replace(PLAIN, site=site)
    assert predictions.to_csv() == by_the_csv_module(predictions, monkeypatch)
    write_predictions(tmp_path / "predictions.csv", predictions)
    assert_same(read_predictions(tmp_path / "predictions.csv", CLASSES), predictions)


@pytest.mark.parametrize("value", [0.0, 1.0, 1e-7, 0.9999999, 0.12345678, 1 / 3, -0.0, 0.1 + 0.2])
def test_a_probability_is_written_as_the_csv_module_writes_it(value, monkeypatch):
    predictions = replace(PLAIN, probabilities=np.full((27, 3), value))
    assert predictions.to_csv() == by_the_csv_module(predictions, monkeypatch)


def test_lines_that_are_plain_are_not_read_one_by_one(in_small_blocks, tmp_path, monkeypatch):
    write_predictions(tmp_path / "predictions.csv", PLAIN)
    monkeypatch.setattr(module, "_parsed", None)
    assert_same(read_predictions(tmp_path / "predictions.csv", CLASSES), PLAIN)


@pytest.mark.parametrize("cell", ["0.5", "5e-1", "0.50000000", "+0.500000", "00.500000", "1"])
def test_a_probability_may_be_written_in_another_way(tmp_path, cell):
    path = tmp_path / "predictions.csv"
    path.write_text(f"{HEADER}\n{LINE.replace('0.5000000', cell)}\n")
    assert read_predictions(path, CLASSES).probabilities[0, 0] == float(cell)


def test_the_last_line_need_not_end(tmp_path):
    path = tmp_path / "predictions.csv"
    path.write_text(f"{HEADER}\n{LINE}\n{LINE}")
    assert len(read_predictions(path, CLASSES)) == 2


def test_predictions_of_other_classes_are_not_joined():
    with pytest.raises(ValueError, match="different classes"):
        Predictions.joined([Predictions.joined([], CLASSES)], ("AF",))


@given(measures.predictions())
def test_every_line_is_in_the_group_of_its_model_and_site(predictions):
    groups = predictions.by_model_and_site()
    assert sum(len(group) for group in groups.values()) == len(predictions)
    for (strategy, site), group in groups.items():
        assert_same(group, predictions.of(strategy, site))
    keys = zip(predictions.strategy.tolist(), predictions.site.tolist(), strict=True)
    assert list(groups) == list(dict.fromkeys(keys))


def test_lines_of_a_fold_say_which(tmp_path):
    path = tmp_path / "predictions.csv"
    path.write_text(f"{HEADER}\n{LINE}\n")
    second = read_predictions(path, CLASSES).in_fold("2")
    assert second.to_csv() == f"{HEADER}\n{LINE}2\n"


@pytest.mark.parametrize("value", ["0.0000000", "1.0000000"])
def test_zero_and_one_are_probabilities(tmp_path, value):
    path = tmp_path / "predictions.csv"
    line = f"{KEYS_OF_LINE},1,,0,{value},{value},{value},1,0,0,"
    path.write_text(f"{HEADER}\n{line}\n")
    assert read_predictions(path, CLASSES).probabilities.tolist() == [[float(value)] * 3]
