"""The pages of a run, written when its training is over.

The modules that make them load matplotlib and scikit-learn, which takes longer than the first round
of a small run. This is the only way to them from `server.experiment`, so that no training waits.
"""

from pathlib import Path


def write_report(folder: Path) -> None:
    """Write the pages of a run directory, and the cards beside the weights."""
    from fl.reports import build

    build.write_report(folder)


def write_models(folder: Path) -> None:
    """Write only what the weights need beside them: their cards."""
    from fl.reports import build

    build.write_models(folder)
