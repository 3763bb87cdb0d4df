"""The figures of the federation's page."""

import pytest

from fl.reports.figures.federation_charts import forest
from fl.reports.figures.svg import ink
from fl.reports.run_files import read_run

ORDER = ("local", "pooled", "fedavg", "fedprox")


@pytest.fixture
def rows(written):
    return read_run(written("compared")).differences


@pytest.mark.parametrize("against", ["local", "pooled"])
def test_a_strategy_has_its_own_colour_whatever_else_is_drawn(rows, against):
    svg = forest(rows, against, "macro_f1", ORDER).svg.lower()
    colours = [ink(i).lower() in svg for i in range(len(ORDER))]
    assert colours == [False, False, True, True]


def test_a_forest_plot_names_its_baseline_and_needs_differences(rows):
    drawing = forest(rows, "local", "macro_f1", ORDER)
    assert "each strategy minus local training" in drawing.caption
    assert forest([], "local", "macro_f1", ORDER) is None
