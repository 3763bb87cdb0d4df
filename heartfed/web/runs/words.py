"""Values of runs as the pages write them: short, whatever a run directory holds."""

import math
from datetime import UTC, datetime

from fl.reports.number_format import duration, number
from fl.runs.overview import Score

LONGEST_SETTING = 120  # characters


def score_text(score: Score | None) -> str:
    """`.812 [.774, .846]`, or n/a."""
    if score is None:
        return "n/a"
    if score.low is None or score.high is None:
        return figure(score.value)
    return f"{figure(score.value)} [{figure(score.low)}, {figure(score.high)}]"


def figure(value: float | None) -> str:
    """As all tables write numbers; one that is far too large for its place, in powers of ten."""
    if value is None or not math.isfinite(value):
        return "n/a"
    return number(value) if abs(value) < 1e6 else f"{value:.2g}"


def seconds_text(value: float | None) -> str:
    """`40 s`, or n/a."""
    return "n/a" if value is None or not math.isfinite(value) else duration(value)


def date_text(text: str) -> str:
    """`2026-01-02 13:45` in UTC; as it stands, cut short, if it is no date."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return text[:25]
    return (found.astimezone(UTC) if found.tzinfo else found).strftime("%Y-%m-%d %H:%M")


def setting_text(value: object) -> str:
    """A setting's value in a cell; - for one that is empty."""
    text = "-" if value in ("", None) else str(value)
    return text if len(text) <= LONGEST_SETTING else f"{text[:LONGEST_SETTING]}..."
