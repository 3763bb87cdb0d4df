"""The time left, beside the rounds on the terminal."""

import io

import pytest
from rich.console import Console
from support.history_rows import round_row

from fl.reports.terminal.progress import make_view
from fl.runs.remaining_time import Plan, Remaining

PLAN = {"strategy": "fedavg", "rounds": 3, "engine": "local"}


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize(
    ("patience", "text"), [(0, "about 4 s left"), (2, "at most 4 s left")], ids=["all", "early"]
)
def test_the_time_left_stands_beside_each_round(live, patience, text):
    console = Console(file=io.StringIO(), width=200, force_terminal=live, highlight=False)
    plan = Plan.of(PLAN | {"patience": patience}, sites=3, cores=2)
    view = make_view(console, False, Remaining(plan=plan, rows=[]))
    view.training("fedavg", 3, [])
    view.round(round_row())
    view.close()
    assert text in console.file.getvalue()


def test_without_rounds_to_come_no_time_is_left():
    console = Console(file=io.StringIO(), width=200)
    plan = Plan.of(PLAN, sites=3, cores=2)
    view = make_view(console, False, Remaining(plan=plan, rows=[]))
    view.training("fedavg", 3, [])
    view.round(round_row(round=3))
    assert " left" not in console.file.getvalue()
