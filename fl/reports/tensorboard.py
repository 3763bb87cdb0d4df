"""Curves for TensorBoard while a run trains; needs the package `tensorboard`, an optional extra.

`TensorBoard(folder, view)` is a listener that passes everything on to another one: give it to
`server_app` in the view's place and close it at the end.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from fl.runs.history_tables import RoundRow
from fl.util.errors import ConfigError

# Column of rounds.csv -> name of the curve. The two scores are of validation: see its docs.
CURVES = {
    "train_loss": "loss/train",
    "val_loss": "loss/validation",
    "val_macro_f1": "validation/macro-F1",
    "val_macro_auroc": "validation/macro-AUROC",
    "participants": "sites/participants",
    "failures": "sites/failures",
    "seconds": "seconds per round",
}


class View(Protocol):
    """Whoever else shows how the run is going."""

    def training(self, strategy: str, rounds: int, sites: Sequence[Any]) -> None: ...

    def site(self, round_number: int, site: str, doing: str, note: str) -> None: ...

    def round(self, row: RoundRow) -> None: ...

    def baseline_round(self, site: str, row: RoundRow, last: bool) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Writes `folder/<strategy>/`, one run of TensorBoard per strategy, and passes all on."""

    def __init__(self, folder: Path, view: View) -> None:
        self.folder, self.view = folder, view
        self._make = _summary_writer()
        self._writers: dict[str, Any] = {}

    def training(self, strategy: str, rounds: int, sites: Sequence[Any]) -> None:
        self.view.training(strategy, rounds, sites)

    def site(self, round_number: int, site: str, doing: str, note: str) -> None:
        self.view.site(round_number, site, doing, note)

    def round(self, row: RoundRow) -> None:
        """The round's line of rounds.csv, as one point of each curve."""
        if row.strategy not in self._writers:
            self._writers[row.strategy] = self._make(str(self.folder / row.strategy))
        for column, name in CURVES.items():
            value = getattr(row, column)
            if value is not None:
                self._writers[row.strategy].add_scalar(name, value, row.round)
        self.view.round(row)

    def baseline_round(self, site: str, row: RoundRow, last: bool) -> None:
        """One site's own training is told on the terminal alone: its curves are in rounds.csv."""
        self.view.baseline_round(site, row, last)

    def close(self) -> None:
        """Write what is still in memory."""
        for writer in self._writers.values():
            writer.close()
        self.view.close()


def check_tensorboard() -> None:
    """`ConfigError` that says what to install where the package is missing."""
    _summary_writer()


def _summary_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError(
            "--tensorboard: the package tensorboard is not installed. Install it: "
            "pip install -c constraints.txt -e '.[tensorboard]'"
        ) from None
    return SummaryWriter
