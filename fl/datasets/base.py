"""What every data set states about itself, and how its records are read."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from fl.ecg.records import Record


@dataclass(frozen=True, kw_only=True)
class Card:
    """The facts about one data set, printed by `check` and in every report."""

    name: str  # on the command line; also the name of its folder, unless it has another
    title: str
    leads: tuple[str, ...]
    rates: tuple[float, ...]  # Hz, the sampling rates it may have; empty: any
    annotates: tuple[str, ...]  # rhythm classes that it labels in every record; others are
    #   unknown, and a source with none of them cannot be used for the rhythm task
    mapping: str  # where the label mapping comes from, and why these classes
    patients: str  # how patients are identified
    licence: str
    citation: str
    url: str = ""  # page on PhysioNet
    unit: str = "mV"  # "NU": each record is scaled to its own peak, and mV are unknown
    lead_two: str = (
        ""  # the header's name of the lead that stands for II; "" if no beat is annotated
    )
    signal: str = ""  # what to know of its leads and amplitudes
    synthetic: bool = False
    # Which records have an infarction and which are known to have none, and where that comes
    # from; "" if the source does not say. Not in the repr, from which cache folders have their
    # names: those of the other tasks stay as they are.
    infarction: str = field(default="", repr=False)


class Source(Protocol):
    """A data set. `root` is the data folder, which has one folder for each data set."""

    @property
    def card(self) -> Card: ...

    def exists(self, root: Path) -> bool:
        """Whether the data set's folder is below `root`."""

    def record_names(self, root: Path) -> list[str]:
        """Names of all records, sorted; `DataError` if there are none."""

    def files(self, root: Path) -> list[Path]:
        """Every file whose content can change what `read` returns."""

    def read(self, root: Path, name: str) -> Record:
        """One record, in mV; `UnusableRecord` with the verdict if it cannot be used."""


_OPTION = "ignore_checksums"  # the field of a source whose headers have checksums


def ignoring_checksums(source: Source) -> Source:
    """The source, reading signals that differ from the checksums in their headers.

    A source without such checksums, such as a synthetic one, is returned as it is.
    """
    options: Any = source
    return replace(options, ignore_checksums=True) if hasattr(source, _OPTION) else source


def ignores_checksums(source: Source) -> bool:
    """Whether the source reads signals that differ from the checksums in their headers."""
    return bool(getattr(source, _OPTION, False))
