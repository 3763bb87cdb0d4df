"""Who holds what, and which records were left out, as terminal tables and lines."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from fl.reports.number_format import number


def partition_table(rows: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> Table:
    """What each site holds."""
    title = "Records per site, and how many show each class"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("site", no_wrap=True)
    table.add_column("source")
    for name in ("patients", "train", "val", "test", *classes):
        table.add_column(name, justify="right")
    for row in rows:
        counts = [str(row["labels"][c]) if row["labels"][c] else "-" for c in classes]
        held = [str(row[k]) for k in ("patients", "train", "val", "test")]
        table.add_row(row["site"], ", ".join(row["sources"]), *held, *counts)
    return table


def non_iid_line(apart: float | None) -> str:
    """How far the sites' label mixes are apart."""
    return (
        f"Label mix between sites: mean Jensen-Shannon distance {number(apart)} "
        "(0: alike, 1: no class in common)"
    )


def device_line(site: str, faults: Mapping[str, Any]) -> str:
    """What a site's recorder does to its signals."""
    parts = [
        text.format(faults[name], mains=faults.get("mains"))
        for name, text in (
            ("muscle", "muscle noise {:g} sd"),
            ("hum", "{mains:g} Hz hum {:g} sd"),
            ("rails", "saturates at {:g} sd"),
            ("rate", "records at {:g} Hz"),
        )
        if name in faults
    ]
    if faults.get("lost"):
        parts.append(f"without {' '.join(faults['lost'])}")
    return f"{site} records with: {'; '.join(parts)}"


def left_out(data: Sequence[Mapping[str, Any]]) -> str:
    """One line: how many records were used, and those that were not, by source and verdict."""
    used = sum(source["recordings"] for source in data)
    parts = []
    for source in data:
        verdicts = [f"{len(names)} {v}" for v, names in sorted(source["excluded"].items())]
        if verdicts:
            parts.append(f"{source['source']} {', '.join(verdicts)}")
    told = f"; left out: {'; '.join(parts)} (run.json names each)" if parts else ", none left out"
    return f"Records: {used} used{told}."
