"""docs/data.md holds the data cards of the table of data sets."""

import importlib.util
from pathlib import Path

import pytest

from fl.datasets import DATASETS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location("make_data_cards", DOCS / "make_data_cards.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_command_writes(maker):
    page = (DOCS / "data.md").read_text()
    assert maker.replaced(page, "cards", maker.cards()) == page


@pytest.mark.parametrize("name", DATASETS)
def test_every_card_states_licence_and_citation(maker, name):
    text = maker.card(DATASETS[name].card)
    assert f"| licence | {DATASETS[name].card.licence} |" in text
    assert "| cite | " in text


def test_the_counts_of_the_recordings_are_on_the_page(maker):
    page = (DOCS / "data.md").read_text()
    for known in (
        "4 bad-header (E00009 E00015 E00018 E00793)",
        "| ptbxl/00463 | ptbxl/00145 |",
        "| DS1 | 45,866 (22) | 944 (16) | 3,788 (17) | 415 (10) | 8 (3) | 51,021 (22) |",
        "| 90,125 (43) | 2,781 (31) | 7,009 (32) | 803 (16) | 15 (5) | 100,733 (43) |",
        "| svdb | ECG1 | all | 162,339 (78) | 12,198 (73) | 9,943 (67) |",
        "| mitdb | `!` | Ventricular flutter wave | 472 |",
        "II: 102",
    ):
        assert known in page


@pytest.mark.parametrize(("name", "lead"), [("mitdb", "MLII"), ("svdb", "ECG1"), ("incart", "II")])
def test_a_card_states_the_lead_that_stands_for_two(maker, name, lead):
    text = maker.card(DATASETS[name].card)
    assert f"| lead II in the beat tasks | {lead} |" in text
    assert ("This is an assumption" in text) == (name == "svdb")


def test_a_card_of_beats_alone_names_no_rhythm_class(maker):
    assert "| classes annotated | heartbeats alone |" in maker.card(DATASETS["svdb"].card)


def test_a_page_without_marks_is_refused(maker):
    with pytest.raises(ValueError, match="marks of cards"):
        maker.replaced("# Data", "cards", "")
