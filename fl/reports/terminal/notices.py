"""Notices that no run on synthetic data is shown without."""

from collections.abc import Sequence

from rich.panel import Panel
from rich.text import Text

NOTICE = "SYNTHETIC DATA: no patient stands behind these figures. They say nothing about medicine."


def synthetic_notice(names: Sequence[str]) -> Panel:
    """The notice that no run on synthetic data is shown without."""
    text = Text(f"{NOTICE}\nSources: {', '.join(names)}", justify="center")
    return Panel(text, style="bold white on red")
