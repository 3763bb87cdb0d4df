"""The notice that marks every output of a run on synthetic data."""

from collections.abc import Sequence

from rich.panel import Panel
from rich.text import Text

NOTICE = "SYNTHETIC DATA: these results are not from real patients and say nothing about medicine."


def simulated_note(n: int) -> str:
    """What every output of a run says whose sites also trained on simulated recordings, or ""."""
    if not n:
        return ""
    return (
        f"SYNTHETIC TRAINING RECORDINGS: each hospital also trained on {n} simulated recordings of "
        "its rare classes. They are in no validation or test set, and count as no patient."
    )


def synthetic_notice(names: Sequence[str]) -> Panel:
    """The notice as a red box, with the names of the synthetic sources."""
    text = Text(f"{NOTICE}\nSources: {', '.join(names)}", justify="center")
    return Panel(text, style="bold white on red")
