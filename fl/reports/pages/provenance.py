"""The sources of a run's data, and which recordings were left out for which reason."""

from collections.abc import Mapping, Sequence
from typing import Any

from fl.datasets import DATASETS
from fl.reports.run_files import Run
from fl.util.errors import REASONS

MOST_NAMED = 40  # left-out records listed by name for each reason; run.json lists all


def provenance(run: Run) -> list[dict[str, Any]]:
    """Each source: its card, what the run used of it, and what was left out and why."""
    found = []
    for entry in run.facts.data:
        source = DATASETS.get(entry.source)
        found.append(
            {
                "name": entry.source,
                "card": source.card if source else None,
                "facts": entry,
                "synthetic": entry.source in run.synthetic,
                "left_out": left_out(entry.excluded),
            }
        )
    return found


def left_out(excluded: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Recordings left out: for each reason their number and the names of the first ones."""
    return [
        {
            "reason": REASONS.get(verdict, verdict),
            "n": len(names),
            "names": sorted(names)[:MOST_NAMED],
            "more": max(0, len(names) - MOST_NAMED),
        }
        for verdict, names in sorted(excluded.items())
    ]
