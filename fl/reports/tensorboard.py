"""Curves for TensorBoard while a run trains; needs the package `tensorboard`, an optional extra.

`TensorBoard(folder, listener)` is a listener that passes every call on to `listener`: give it to
`server_app` in the place of the other, and close it at the end.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fl.messages.payloads import SiteInfo
from fl.runs.history_tables import RoundRow
from fl.runs.listener import Listener
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


class TensorBoard:
    """Writes `folder/<strategy>/`, one TensorBoard run per strategy."""

    def __init__(self, folder: Path, listener: Listener) -> None:
        self.folder, self.listener = folder, listener
        self._make = _summary_writer()
        self._writers: dict[str, Any] = {}

    def training(self, strategy: str, rounds: int, sites: Sequence[SiteInfo]) -> None:
        self.listener.training(strategy, rounds, sites)

    def site(self, round_number: int, site: str, doing: str, note: str) -> None:
        self.listener.site(round_number, site, doing, note)

    def round(self, row: RoundRow) -> None:
        """Add one point to each curve, from the round's row of rounds.csv."""
        if row.strategy not in self._writers:
            self._writers[row.strategy] = self._make(str(self.folder / row.strategy))
        for column, name in CURVES.items():
            value = getattr(row, column)
            if value is not None and not row.averaged:
                self._writers[row.strategy].add_scalar(name, value, row.round)
        self.listener.round(row)

    def baseline_round(self, site: str, row: RoundRow, last: bool) -> None:
        """Passed on only: rounds.csv holds the curves of local training."""
        self.listener.baseline_round(site, row, last)

    def close(self) -> None:
        """Write the points that are still in memory; whoever made the other listener closes it."""
        for writer in self._writers.values():
            writer.close()


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
