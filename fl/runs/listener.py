"""Who is informed while a run goes on: a terminal, curves for TensorBoard, a file."""

from collections.abc import Sequence
from typing import Protocol

from fl.messages.payloads import SiteInfo
from fl.runs.history_tables import RoundRow


class Listener(Protocol):
    """Whoever shows or writes down how a run is going."""

    def training(self, strategy: str, rounds: int, sites: Sequence[SiteInfo]) -> None:
        """A training of `rounds` rounds begins, or goes on with more sites."""

    def site(self, round_number: int, site: str, doing: str, note: str) -> None:
        """A site has finished `doing` ("train", "val", "test"), or "failed", or its update was
        "clipped", or it "joined" a training that had begun: see `note`.
        """

    def round(self, row: RoundRow) -> None:
        """A round is over and validated: its line of rounds.csv."""

    def baseline_round(self, site: str, row: RoundRow, last: bool) -> None:
        """A site that trains alone has finished a round, its last if `last`."""
