"""Cells of the study's tables, and stored results by row."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fl.evaluation.ec57 import Counts, table

Content = Mapping[str, Any]  # of a results file
Run = Mapping[str, Any]  # one stored result: `annotated`, `xqrs`, ... -> Measured


def runs_of(content: Content, prefix: str) -> dict[str, dict[str, Run]]:
    """Results `prefix/name/part` by name and part, e.g. the seed, in the order of the parts."""
    by_name: dict[str, dict[str, Run]] = {}
    for key, value in content["results"].items():
        kind, *rest = key.split("/")
        if kind == prefix and len(rest) == 2:
            by_name.setdefault(rest[0], {})[rest[1]] = value
    return {name: dict(sorted(parts.items(), key=_in_order)) for name, parts in by_name.items()}


def _in_order(part: tuple[str, Run]) -> tuple[int, str]:
    """Seeds as numbers: 2 before 10."""
    return len(part[0]), part[0]


def mean(values: Sequence[float | None]) -> float | None:
    """Mean of the values that are not None; None if there are none."""
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def number(value: float | None) -> str:
    """Three decimals, or n/a."""
    return "n/a" if value is None else f"{value:.3f}"


def ranged(value: float | None, ends: Sequence[float] | None) -> str:
    """A number with its interval, e.g. `0.812 (0.774 to 0.846)`."""
    if value is None or not ends:
        return number(value)
    return f"{value:.3f} ({ends[0]:.3f} to {ends[1]:.3f})"


def line(cells: Sequence[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"


def header(*cells: str) -> list[str]:
    """The first two lines of a table."""
    return [line(cells), line(["---"] * len(cells))]


def f1(counts: Counts, name: str) -> float | None:
    """F1 of a class over all records (record, true class, predicted class); None without any."""
    if not len(counts):
        return None
    value: float | None = table(counts.sum(axis=0))["classes"][name]["f1"]
    return value


def macro(counts: Counts) -> float | None:
    """Macro-F1 of N, S and V over all records."""
    if not len(counts):
        return None
    value: float | None = table(counts.sum(axis=0))["macro_f1"]
    return value


def mean_ap(runs: Sequence[Mapping[str, Any]], group: str, name: str) -> str:
    """Average precision of a class in a group, with its interval: means over the trainings."""
    found = [run["ap"][group][name] for run in runs if run["ap"].get(group)]
    known = [one for one in found if one is not None]
    if not known:
        return number(None)
    ends = [one[1:] for one in known if len(one) == 3]
    return ranged(mean([one[0] for one in known]), np.mean(ends, axis=0).tolist() if ends else None)


def spread(values: Sequence[float | None]) -> str:
    """The standard deviation over seeds; n/a of a single one."""
    known = [v for v in values if v is not None]
    return number(float(np.std(known, ddof=1)) if len(known) > 1 else None)


def made_by(content: Content, options: str, kind: str) -> str:
    """The command, machine and data of some tables, and the records that could not be used."""
    unusable = content["results"].get(f"left out/{kind}", {})
    verdicts = [
        f" Records of {source} that could not be used ({verdict}): {', '.join(names)}."
        for source, by_verdict in unusable.items()
        for verdict, names in by_verdict.items()
    ]
    return (
        f"Made by `python -m benchmarks.studies.beat --data-dir DATA{options}` on "
        f"{content['machine']}, torch {content['torch']}, data "
        f"{content['details']['data'][:12]}.{''.join(verdicts)}"
    )
