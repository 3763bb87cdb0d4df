"""The table of sites: where its counts are of windows, it says so."""

import io

from rich.console import Console

from fl.reports.terminal.partition_tables import partition_table
from fl.reports.units import RECORDS, WINDOWS


def shown(unit_at):
    rows = [
        {"site": site, "sources": ["x"], "patients": 8, "train": 9, "val": 1, "test": 1}
        | {"labels": {"AF": 3}}
        for site in ("a", "b")
    ]
    console = Console(file=io.StringIO(), width=100)
    console.print(partition_table(rows, ["AF"], unit_at))
    return console.file.getvalue()


def test_of_very_many_sites_the_largest_stand_there_and_the_sum_of_all():
    rows = [
        {"site": f"site-{n:03d}", "sources": ["x"], "patients": n, "train": 2, "val": 1, "test": 1}
        | {"labels": {"AF": 3}}
        for n in range(1, 101)
    ]
    rows.append(rows[0] | {"site": "central", "patients": 7})
    console = Console(file=io.StringIO(), width=100)
    console.print(partition_table(rows, ["AF"]))
    text = console.file.getvalue()
    lines = [line.split() for line in text.splitlines()]
    named = [words[0] for words in lines if words and words[0].startswith("site-")]
    assert named == [f"site-{n:03d}" for n in range(81, 101)]
    assert ["all", "100", "5050", "200", "100", "100", "300", "-"] in lines  # no central record
    assert any(words[:1] == ["central"] for words in lines)
    note = "80 of 100 sites, none with more patients, are not shown; run.json has them."
    assert note in " ".join(text.split())


def test_sites_whose_examples_are_windows_are_named_below_the_table():
    assert "10 s windows: b" in shown(lambda site: WINDOWS if site == "b" else RECORDS)
    assert "windows" not in shown(lambda site: RECORDS)
