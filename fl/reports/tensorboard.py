"""Curves for TensorBoard while a run trains; needs the package `tensorboard`, an optional extra.

`TensorBoard(folder, view)` is a listener that passes every call on to `view`: give it to
`server_app` in the view's place, and close it at the end.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from fl.runs.history_tables import RoundRow
from fl.util.errors import ConfigError

# Column of rounds.csv -> name of the curve.
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
    """The listener that shows the progress of a run, e.g. on the terminal."""

    def training(self, strategy: str, rounds: int, sites: Sequence[Any]) -> None: ...

    def site(self, round_number: int, site: str, doing: str, note: str) -> None: ...

    def round(self, row: RoundRow) -> None: ...

    def baseline_round(self, site: str, row: RoundRow, last: bool) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Writes `folder/<strategy>/`, one TensorBoard run per strategy."""

    def __init__(self, folder: Path, view: View) -> None:
        self.folder, self.view = folder, view
        self._make = _summary_writer()
        self._writers: dict[str, Any] = {}

    def training(self, strategy: str, rounds: int, sites: Sequence[Any]) -> None:
        self.view.training(strategy, rounds, sites)

    def site(self, round_number: int, site: str, doing: str, note: str) -> None:
        self.view.site(round_number, site, doing, note)

    def round(self, row: RoundRow) -> None:
        """Add one point to each curve, from the round's row of rounds.csv."""
        if row.strategy not in self._writers:
            self._writers[row.strategy] = self._make(str(self.folder / row.strategy))
        for column, name in CURVES.items():
            value = getattr(row, column)
            if value is not None:
                self._writers[row.strategy].add_scalar(name, value, row.round)
        self.view.round(row)

    def baseline_round(self, site: str, row: RoundRow, last: bool) -> None:
        """Passed on only: rounds.csv holds the curves of local training."""
        self.view.baseline_round(site, row, last)

    def close(self) -> None:
        """Write the points that are still in memory, and close the view."""
        for writer in self._writers.values():
            writer.close()
        self.view.close()


def check_tensorboard() -> None:
    """Raise `ConfigError` with the command to install the package, if it is missing."""
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
