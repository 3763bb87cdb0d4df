"""Terminal tables and lines about the partition: each site's records, and records left out."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from fl.reports.number_format import number
from fl.reports.shown_sites import NO_SITE, not_shown, shown_sites
from fl.reports.units import EXAMPLES, RECORDS, UnitAt, no_unit


def partition_table(
    rows: Sequence[Mapping[str, Any]], classes: Sequence[str], unit_at: UnitAt = no_unit
) -> Table:
    """Patients, examples by split and examples by class of each site, and what an example is.

    The column `none` counts the examples that show none of the classes. Of very many sites those
    with the most patients are shown, and the sum over all.
    """
    sites = [row for row in rows if row["site"] not in NO_SITE]
    shown = shown_sites({row["site"]: row["patients"] for row in sites})
    more = not_shown(len(shown), len(sites))
    title = "Examples per site, and how many show each class"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("site", no_wrap=True)
    table.add_column("source")
    for name in ("patients", "train", "val", "test", *classes, "none"):
        table.add_column(name, justify="right")

    def cells(some: Sequence[Mapping[str, Any]]) -> list[str]:
        numbers = [_sum(row["labels"][c] for row in some) for c in classes]
        numbers.append(_sum(row.get("none_of_the_classes") for row in some))
        sizes = [_sum(row[name] for row in some) for name in ("patients", "train", "val", "test")]
        return [*map(str, sizes), *(str(n) if n else "-" for n in numbers)]

    named = [row for row in rows if row["site"] in {*shown, *NO_SITE}]
    for row in named:
        table.add_row(row["site"], ", ".join(row["sources"]), *cells([row]))
    if more:
        table.add_section()
        table.add_row(f"all {len(sites):,}", "", *cells(sites))
    notes = [
        _units([row["site"] for row in named], unit_at),
        f"{more}; run.json has them." if more else "",
    ]
    table.caption = "\n".join(filter(None, notes)) or None
    return table


def _sum(counts: Iterable[int | None]) -> int:
    return sum(count or 0 for count in counts)


def _units(sites: Sequence[str], unit_at: UnitAt) -> str:
    """`10 s windows: site-7; beats: ...` where examples are not records."""
    named: dict[str, list[str]] = {}
    for site in sites:
        if unit_at(site) not in (RECORDS, EXAMPLES):
            named.setdefault(unit_at(site), []).append(site)
    return "; ".join(f"{unit}: {', '.join(names)}" for unit, names in named.items())


def non_iid_line(distance: float | None) -> str:
    """How much the label mix differs between sites."""
    return (
        f"Label mix between sites: mean Jensen-Shannon distance {number(distance)} "
        "(0: the same mix, 1: no class in common)"
    )


def device_line(site: str, faults: Mapping[str, Any]) -> str:
    """How a site's simulated recorder changes its signals."""
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
    """How many records were used, and what was left out, by source and reason.

    Beside records, these are the annotated beats for which the task has no class, by code.
    """
    used = sum(source["recordings"] for source in data)
    parts = []
    for source in data:
        reasons = [f"{len(names)} {v}" for v, names in sorted(source["excluded"].items())]
        if reasons:
            parts.append(f"{source['source']} {', '.join(reasons)}")
    rest = f"; left out: {'; '.join(parts)} (run.json names each)" if parts else ", none left out"
    beats = [
        f"{source['source']} {', '.join(f'{n} {code}' for code, n in sorted(counts.items()))}"
        for source in data
        if (counts := source.get("beats_without_class"))
    ]
    others = f" Beats without a class of the task, left out: {'; '.join(beats)}." if beats else ""
    return f"Records: {used} used{rest}.{others}"


def fold_lines(facts: Mapping[str, Any]) -> str:
    """What the folds of a run are, and whom they cannot test; `facts` are those of run.json."""
    lines = [
        f"{facts['site_folds']} folds: each patient of a site is tested once, by models that never "
        "saw the patient. Figures on central and unseen records are means over the folds' models."
    ]
    small = ", ".join(f"{s} has {n}" for s, n in facts.get("smaller_than_folds", {}).items())
    if small:
        lines.append(f"Fewer patients than folds: {small}; in the other folds they test nobody.")
    for name, sites in facts.get("untested", {}).items():
        patients = ", ".join(f"{n} of {site}" for site, n in sites.items())
        lines.append(
            f"{name} tested all but these patients: {patients}. Their site failed in a fold, or "
            "had nobody else to train on."
        )
    return "\n".join(lines)
