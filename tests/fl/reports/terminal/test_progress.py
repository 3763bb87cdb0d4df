"""The time left, beside the rounds on the terminal."""

import io

import pytest
from rich.console import Console
from support.history_rows import round_row

from fl.messages.payloads import SiteInfo
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


def test_of_very_many_sites_the_live_view_shows_those_that_answered_last():
    console = Console(file=io.StringIO(), width=200, force_terminal=True, highlight=False)
    view = make_view(console, False)
    sites = [SiteInfo(site=f"s{n}", n_train=n, n_val=0, n_test=0) for n in range(1, 101)]
    view.training("fedavg", 3, sites)
    for site in ("s7", "s3"):
        view.site(1, site, "train", "")
    lines = view._lines()
    view.close()
    assert lines[0] == ("", "the last 10 of 100 sites to answer:")
    assert [name for name, _ in lines[-2:]] == ["s7", "s3"]
    assert len(lines) == 11
    assert "100 sites with 1 to 100 training patients, 5,050 in all" in console.file.getvalue()


def test_without_rounds_to_come_no_time_is_left():
    console = Console(file=io.StringIO(), width=200)
    plan = Plan.of(PLAN, sites=3, cores=2)
    view = make_view(console, False, Remaining(plan=plan, rows=[]))
    view.training("fedavg", 3, [])
    view.round(round_row(round=3))
    assert " left" not in console.file.getvalue()
