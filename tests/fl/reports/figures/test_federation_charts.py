"""The figures of the federation's page."""

import pytest

from fl.reports.figures.federation_charts import forest, learning
from fl.reports.figures.svg import class_ink, training_ink
from fl.reports.run_files import read_run

ORDER = ("local", "pooled", "fedavg", "fedprox")


@pytest.fixture
def rows(written):
    return read_run(written("compared")).differences


@pytest.mark.parametrize("against", ["local", "pooled"])
def test_a_strategy_has_its_own_colour_whatever_else_is_drawn(rows, against):
    svg = forest(rows, against, "macro_f1", ORDER).svg.lower()
    assert training_ink("local", ORDER).lower() not in svg
    assert all(training_ink(name, ORDER).lower() in svg for name in ("fedavg", "fedprox"))


def test_a_forest_plot_names_its_baseline_and_needs_differences(rows):
    drawing = forest(rows, "local", "macro_f1", ORDER)
    assert "each strategy minus local training" in drawing.caption
    assert forest([], "local", "macro_f1", ORDER) is None


def test_no_training_has_the_colour_of_a_class():
    trainings = {training_ink(name, ORDER) for name in ORDER}
    assert len(trainings) == len(ORDER)
    assert not trainings & {class_ink(i) for i in range(9)}


def test_the_worst_hospital_has_no_difference(rows):
    assert rows
    assert not any("worst" in row.where for row in rows)


@pytest.mark.parametrize(
    ("kind", "measure"), [("rhythm", "Macro-F1"), ("beat", "Macro-F1 of S and V")]
)
def test_the_validation_chart_names_its_measure_and_says_that_it_flatters(written, kind, measure):
    _, validation = learning(read_run(written(kind)))
    assert f"{measure} on the hospitals' validation records" in validation.caption
    assert "these values are too high" in validation.caption
