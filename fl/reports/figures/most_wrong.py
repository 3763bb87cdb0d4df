"""The records a model gets most wrong, drawn on ECG paper where the recordings are at hand."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fl.config.config_file import load_config
from fl.data.content_digest import content_digest
from fl.data.example_cache import default_cache_dir
from fl.datasets.base import Source
from fl.datasets.source_selection import select_sources
from fl.ecg.records import LEADS, Record
from fl.reports.figures import ecg_paper
from fl.reports.figures.svg import Drawing, inline, styled
from fl.reports.run_files import Predictions
from fl.util.errors import ConfigError, DataError

SHOWN = 3
SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class WrongRecording:
    """One example whose decision is wrong, and how sure the model was of it."""

    source: str
    name: str  # of the example: `A0001`, `201/0120s`, `100/001234`
    truth: tuple[str, ...]
    predicted: tuple[str, ...]
    p: dict[str, float]  # of the classes that are true or said
    surprise: float  # mean of -ln(probability given to what is true), over annotated classes


def most_wrong(
    found: Predictions, predicted: np.ndarray[Any, Any], count: int = SHOWN
) -> list[WrongRecording]:
    """The wrong decisions with the largest surprise, at most one of each recording."""
    known = found.y >= 0
    given = np.where(found.y == 1, found.p, 1 - found.p).clip(1e-7, 1)
    surprise = (-np.log(given) * known).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    wrong = (((found.y == 1) != predicted) & known).any(axis=1)
    rows: dict[tuple[str, str], int] = {}
    for row in np.argsort(-surprise, kind="stable").tolist():
        if wrong[row]:
            rows.setdefault((str(found.source[row]), recording_of(str(found.record[row]))), row)
        if len(rows) == count:
            break
    return [_missed(found, predicted, row, float(surprise[row])) for row in rows.values()]


def recording_of(example: str) -> str:
    """The recording that an example was cut from: `201` of `201/0120s`."""
    head, slash, tail = example.rpartition("/")
    return head if slash and tail.removesuffix("s").isdigit() else example


def _missed(
    found: Predictions, predicted: np.ndarray[Any, Any], row: int, surprise: float
) -> WrongRecording:
    truth = tuple(c for c, y in zip(found.classes, found.y[row], strict=True) if y == 1)
    told = tuple(c for c, s in zip(found.classes, predicted[row], strict=True) if s)
    p = dict(zip(found.classes, found.p[row].tolist(), strict=True))
    return WrongRecording(
        source=str(found.source[row]),
        name=str(found.record[row]),
        truth=truth,
        predicted=told,
        p={c: p[c] for c in dict.fromkeys((*truth, *told))},
        surprise=surprise,
    )


class Recordings:
    """The recordings a run was made from, as far as they are still there and unchanged."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = facts
        self._whole: dict[str, str] = {}

    @cached_property
    def _sources(self) -> dict[str, Source] | str:
        try:
            config = load_config(self.facts["config"])
            return select_sources(config).sources
        except (ConfigError, DataError):
            return "they are not where the run found them"

    @property
    def _root(self) -> Path:
        return Path(self.facts["config"]["data_dir"])

    def read(self, source: str, record: str) -> Record | str:
        """A recording, or why it cannot be shown."""
        if isinstance(self._sources, str):
            return self._sources
        if source not in self._sources:
            return f"{source} is not where the run found it"
        if source not in self._whole:
            self._whole[source] = self._changed(source)
        if self._whole[source]:
            return self._whole[source]
        try:
            return self._sources[source].read(self._root, record)
        except (DataError, OSError):
            return "it can no longer be read"

    def unit(self, source: str) -> str:
        """Unit of the source's signals."""
        return "mV" if isinstance(self._sources, str) else self._sources[source].card.unit

    def _changed(self, source: str) -> str:
        """Empty if the source has the content that the run was made from."""
        stated = {entry["source"]: entry for entry in self.facts["data"]}[source]
        kept = Path(stated["cache"]).parent
        cache = kept if kept.is_dir() else default_cache_dir()
        cache.mkdir(parents=True, exist_ok=True)
        assert not isinstance(self._sources, str)
        found = content_digest(self._sources[source], self._root, cache)
        return "" if found == stated["sha256"] else f"the files of {source} have changed since"


@styled
def draw(missed: WrongRecording, record: Record, name: str, unit: str, synthetic: bool) -> Drawing:
    """Ten seconds on ECG paper: the example's own window, or around its beat."""
    start, beat = where(missed.name, record)
    first = round(start * record.fs)
    signal = record.signal[:, first : first + round(SECONDS * record.fs)]
    shown = replace(record, signal=signal, name=missed.name)
    strips = ecg_paper.layout(shown.leads, signal.shape[1] / record.fs)
    width, height = ecg_paper.size(strips)
    figure = Figure(figsize=(width / ecg_paper.INCH, height / ecg_paper.INCH), facecolor="white")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    ecg_paper.sheet(axes, shown, strips, synthetic=synthetic, unit=unit)
    if beat is not None:
        at = ecg_paper.LEFT + ecg_paper.SPEED * (beat - start)
        axes.annotate(
            "this beat", (at, ecg_paper.BOTTOM), ha="center", va="top", size=8, weight="bold"
        )
        axes.axvline(at, color="#0072B2", linewidth=1.2, linestyle=":")
    leads = ", ".join(lead for lead in LEADS if lead in record.leads)
    caption = (
        f"{missed.source} {missed.name}, from {start:g} s of the recording, leads {leads}. Time "
        f"runs at 25 mm/s, amplitude at 10 mm/{unit} when printed at its own size."
    )
    return inline(figure, name, caption)


def where(example: str, record: Record) -> tuple[float, float | None]:
    """Start of the 10 s to draw and, for a beat, its place; in seconds of the recording."""
    tail = example.rpartition("/")[2]
    if recording_of(example) == example:
        return 0.0, None
    if tail.endswith("s"):
        return float(tail[:-1]), None
    beat = int(tail) / record.fs
    longest = record.signal.shape[1] / record.fs
    return max(0.0, min(beat - SECONDS / 2, longest - SECONDS)), beat
