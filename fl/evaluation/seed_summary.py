"""What several seeds of one run have in common: mean and spread of every figure.

Another seed is another partition, other first weights and another order of records, so the
spread over seeds is that of the whole experiment, which no interval by patients shows.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fl.evaluation.difference_sentences import seeds_sentence
from fl.evaluation.paired_bootstrap import METRICS

Row = dict[str, Any]
SAME = ("strategy", "against", "where", "metric")  # what tells differences apart


def over_seeds(summaries: Mapping[int, Mapping[str, Any]]) -> Row:
    """seeds.json from each seed's summary.json."""
    first = next(iter(summaries.values()))
    return {
        "seeds": list(summaries),
        "task": first["task"],
        "synthetic": first["synthetic"],
        "strategies": {
            name: _strategy([summary["strategies"][name] for summary in summaries.values()])
            for name in first["strategies"]
        },
        "differences": list(_differences(list(summaries.values()))),
    }


def spread(values: Sequence[float | None]) -> Row:
    """Mean, lowest, highest and standard deviation (n - 1) over the seeds that have a value."""
    known = [value for value in values if value is not None]
    return {
        "mean": statistics.fmean(known) if known else None,
        "low_seed": min(known, default=None),
        "high_seed": max(known, default=None),
        "sd": statistics.stdev(known) if len(known) > 1 else None,
        "values": list(values),
    }


def figures_of_summary(summary: Mapping[str, Any]) -> dict[tuple[str, str], float | None]:
    """(where, metric) -> value, of one strategy's summary."""
    found: dict[tuple[str, str], float | None] = {}
    sites = {name: report for name, report in summary["sites"].items() if report}
    groups = {"central": summary["central"], "unseen": summary["unseen"]}
    groups |= {f"site:{name}": report for name, report in sites.items()}
    for where, report in groups.items():
        if report:
            found |= {(where, metric): report[metric]["value"] for metric in METRICS}
    for metric in METRICS:
        known = [report[metric]["value"] for report in sites.values()]
        known = [value for value in known if value is not None]
        found["mean_site", metric] = statistics.fmean(known) if known else None
        found["worst_site", metric] = min(known, default=None)
        found["spread", metric] = statistics.pstdev(known) if known else None
    return found


def _strategy(summaries: Sequence[Mapping[str, Any]]) -> Row:
    """{where: {metric: spread}}, wherever any seed was measured."""
    each = [figures_of_summary(summary) for summary in summaries]
    made: Row = {}
    for where, metric in dict.fromkeys(key for found in each for key in found):
        values = [found.get((where, metric)) for found in each]
        made.setdefault(where, {})[metric] = spread(values)
    return made


def _differences(summaries: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """Each difference once, over the seeds; none without a comparison."""
    each = [
        {tuple(row[key] for key in SAME): row for row in summary["comparison"]["differences"]}
        for summary in summaries
        if "comparison" in summary
    ]
    for key in dict.fromkeys(key for found in each for key in found):
        values = [found[key]["value"] if key in found else None for found in each]
        facts = spread(values)
        named = {name: str(part) for name, part in zip(SAME, key, strict=True)}
        yield {**named, **facts, "sentence": seeds_sentence(**named, facts=facts)}
