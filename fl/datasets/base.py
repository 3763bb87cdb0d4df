"""What every data set tells about itself and how one of its records is read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fl.ecg.records import Record


@dataclass(frozen=True, kw_only=True)
class Card:
    """The facts of one data set, in one place: printed by `check` and in every report."""

    name: str  # its name on the command line and, unless said otherwise, its folder
    title: str
    leads: tuple[str, ...]
    rates: tuple[float, ...]  # Hz, the sampling rates it may have; empty: any
    annotates: tuple[str, ...]  # rhythm classes it labels exhaustively; the rest are unknown
    mapping: str  # where the label mapping comes from, and why these classes
    patients: str  # how a patient is known
    licence: str
    citation: str
    url: str = ""  # page on PhysioNet
    unit: str = "mV"  # "NU" where each record is scaled to its own peak and mV are lost
    synthetic: bool = False


class Source(Protocol):
    """A data set. `root` is the data folder that holds one folder per data set."""

    @property
    def card(self) -> Card: ...

    def found(self, root: Path) -> bool:
        """Whether the data set's folder is under `root`."""

    def records(self, root: Path) -> list[str]:
        """Names of all records, sorted; `DataError` if there are none."""

    def files(self, root: Path) -> list[Path]:
        """Every file whose content decides what `read` returns."""

    def read(self, root: Path, name: str) -> Record:
        """One record in mV; `Unusable` with the verdict if it cannot be used."""
