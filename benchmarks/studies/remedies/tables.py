"""The results of the study as Markdown tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.studies.remedies.recipes import AS_SHIPPED, STUDIED
from fl.reports.number_format import number

Row = Mapping[str, Any]


def tables(content: Mapping[str, Any]) -> list[str]:
    """A description of the study and a table for each task that has results."""
    lines = [
        "## Remedies of a textbook, one at a time",
        "",
        "Each row changes one setting of the first. Pooled training with few passes, one seed: "
        "enough to compare rows, not to quote them. The patients of three of five folds are "
        "tested, each by a network that was not trained on them. Beat: DS1 and 40 records of SVDB "
        "(DS2 is not opened); rhythm: CPSC2018's 150 twelve-lead records and 450 of lead I alone. "
        "Figures are means over the sources, weighted by patients; [low, high] are 95% intervals "
        "by patient, and a difference is paired: the row minus the first, on the same patients. A "
        "difference whose interval is on one side of zero is in bold. "
        "With so many rows, one in twenty such intervals would be on one side by chance. Time is "
        "that of the processor for one pass over the training patients, relative to the first "
        "row's in the same run.",
        "",
        f"Made by `{content['command']}` on {content['machine']}, seed "
        f"{content['settings']['seed']}.",
        "",
    ]
    for name in STUDIED:
        rows = {
            key.removeprefix(f"{name}/"): row
            for key, row in content["results"].items()
            if key.startswith(f"{name}/")
        }
        if AS_SHIPPED in rows:
            lines += _table(name, rows)
    return lines


def _table(name: str, rows: Mapping[str, Row]) -> list[str]:
    studied, first = STUDIED[name], rows[AS_SHIPPED]
    rarest = studied.rarest
    head = [
        *("changed", "macro-F1", "difference", *(f"F1 of {c}" for c in rarest)),
        *("macro-AUROC", "difference", "macro-AP", *(f"AP of {c}" for c in rarest)),
        *("ECE", "steps", "time of a pass"),
    ]
    return [
        f"### {name.capitalize()} ({studied.model}, {first['patients']} patients tested, "
        f"{studied.shipped.passes} passes, imbalance {studied.shipped.imbalance})",
        "",
        f"Macro averages over {', '.join(first['classes'])}.",
        "",
        _line(head),
        _line(["---"] * len(head)),
        *(_line(_cells(row_name, row, first, rarest)) for row_name, row in rows.items()),
        "",
    ]


def _cells(name: str, row: Row, first: Row, rarest: Sequence[str]) -> list[str]:
    pass_time = row["seconds"] / row["passes"]
    first_time = first["seconds"] / first["passes"]
    return [
        name,
        _figure(row["macro_f1"]),
        _difference(row["macro_f1"]["difference"], name),
        *(number(row["f1"][c]) for c in rarest),
        _figure(row["macro_auroc"]),
        _difference(row["macro_auroc"]["difference"], name),
        number(row["macro_auprc"]),
        *(number(row["auprc"][c]) for c in rarest),
        number(row["ece"]),
        f"{row['steps']:,}",
        f"{pass_time / first_time:.2f} ({pass_time:.1f} s)",
    ]


def _figure(found: Row) -> str:
    low, high = found["interval"]
    return f"{number(found['value'])} [{number(low)}, {number(high)}]"


def _difference(found: Row, name: str) -> str:
    if name == AS_SHIPPED or found["value"] is None:
        return "-"
    text = f"{found['value']:+.3f}"
    if found["low"] is None:
        return text
    text = f"{text} [{found['low']:+.3f}, {found['high']:+.3f}]"
    return f"**{text}**" if found["low"] > 0 or found["high"] < 0 else text


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
