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


def test_sites_whose_examples_are_windows_are_named_below_the_table():
    assert "10 s windows: b" in shown(lambda site: WINDOWS if site == "b" else RECORDS)
    assert "windows" not in shown(lambda site: RECORDS)
