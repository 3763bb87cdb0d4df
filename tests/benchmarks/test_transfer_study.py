"""What the study of transfer claims of a class at a source that nobody trained on."""

from dataclasses import replace

import pytest

from benchmarks.studies.transfer import ClassThere, believed, left_out_with, tables

GOOD = ClassThere(
    patients=40,
    without=60,
    auroc=[0.95, 0.93],
    low=[0.9, 0.85],
    f1=[0.7, 0.6],
    within=True,
    slope=[1.0, None],
    intercept=[0.1, 0.0],
)


@pytest.mark.parametrize(
    ("change", "claim"),
    [
        ({}, "ranks and decides"),
        ({"low": [0.9, 0.8]}, "ranks and decides"),
        ({"low": [0.9, 0.79]}, "no"),
        ({"f1": [0.6, 0.5]}, "ranks only"),
        ({"within": False}, "ranks only"),
        ({"patients": 9}, "not claimed (9 patients show it)"),
        ({"without": 9}, "not claimed (9 patients lack it)"),
        ({"low": [0.9, None]}, "not claimed (no interval)"),
    ],
)
def test_every_limit_must_hold_with_every_seed(change, claim):
    assert believed(replace(GOOD, **change)) == claim


def test_parts_of_one_data_set_are_left_out_together():
    assert left_out_with("cpsc2018") == left_out_with("cpsc2018-lead1")
    assert left_out_with("cpsc2018") == {"cpsc2018", "cpsc2018-lead1"}
    assert left_out_with("mitdb") == {"mitdb"}


def test_both_tables_have_a_line_for_each_training_and_for_each_class():
    training = {"patients": 100, "macro_auroc": [0.9, 0.8], "macro_f1": [0.5], "macro_ece": [None]}
    with_classes = training | {"classes": {"AF": vars(GOOD)}}
    found = {"local": training, "pooled": with_classes, "fedavg": with_classes}
    lines = tables("rhythm", {"ptbxl": found})
    assert "| ptbxl | 100 | local | .850 | .500 | n/a |" in lines
    expected = "| ptbxl | AF | 40 | .940 (.850) | .650 | 1.000 | .050 | "
    assert lines[-1] == expected + "ranks and decides | ranks and decides |"
