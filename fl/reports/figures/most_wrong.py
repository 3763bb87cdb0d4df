"""The most confident wrong predictions, drawn on ECG paper if the recordings are still there."""

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
from fl.ecg.acceptability import SENTENCES, Acceptability, assess
from fl.ecg.records import LEADS, Record
from fl.evaluation.predictions import Predictions
from fl.explain.saliency import Explanation
from fl.reports.figures import ecg_paper, saliency
from fl.reports.figures.svg import Drawing, inline, styled
from fl.runs.run_facts import RunFacts
from fl.util.errors import ConfigError, DataError

SHOWN = 3
SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class WrongRecording:
    """One example with a wrong prediction, and how confident the model was."""

    source: str
    name: str  # of the example: `A0001`, `201/0120s`, `100/001234`
    truth: tuple[str, ...]
    predicted: tuple[str, ...]
    p: dict[str, float]  # probability of each class that is true or predicted
    wrong_class: str  # the class that is wrongly predicted, else the one that is missed
    fold: str  # whose model answered; "" without folds
    surprise: float  # mean of -ln(probability given to what is true), over annotated classes


def most_wrong(
    predictions: Predictions, predicted: np.ndarray[Any, Any], count: int = SHOWN
) -> list[WrongRecording]:
    """The wrong predictions with the largest surprise, at most one of each recording."""
    known = predictions.labels >= 0
    p = predictions.probabilities
    p_of_truth = np.where(predictions.labels == 1, p, 1 - p).clip(1e-7, 1)
    surprise = (-np.log(p_of_truth) * known).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    wrong = (((predictions.labels == 1) != predicted) & known).any(axis=1)
    rows: dict[tuple[str, str], int] = {}
    for row in np.argsort(-surprise, kind="stable").tolist():
        if wrong[row]:
            rows.setdefault(
                (str(predictions.source[row]), recording_of(str(predictions.record[row]))), row
            )
        if len(rows) == count:
            break
    return [_mistake(predictions, predicted, row, float(surprise[row])) for row in rows.values()]


def recording_of(example: str) -> str:
    """The recording that an example was cut from: `201` of `201/0120s`."""
    head, slash, tail = example.rpartition("/")
    return head if slash and tail.removesuffix("s").isdigit() else example


def _mistake(
    predictions: Predictions, predicted: np.ndarray[Any, Any], row: int, surprise: float
) -> WrongRecording:
    truth = tuple(c for c, label in labels_of(predictions, row) if label == 1)
    chosen = tuple(c for c, is_in in zip(predictions.classes, predicted[row], strict=True) if is_in)
    p = dict(zip(predictions.classes, predictions.probabilities[row].tolist(), strict=True))
    known = {c for c, label in labels_of(predictions, row) if label >= 0}
    false = [c for c in chosen if c in known - set(truth)]
    missed = [c for c in truth if c not in chosen]
    return WrongRecording(
        source=str(predictions.source[row]),
        name=str(predictions.record[row]),
        truth=truth,
        predicted=chosen,
        p={c: p[c] for c in dict.fromkeys((*truth, *chosen))},
        surprise=surprise,
        wrong_class=max(false, key=lambda c: p[c]) if false else min(missed, key=lambda c: p[c]),
        fold=str(predictions.fold[row]),
    )


def labels_of(predictions: Predictions, row: int) -> list[tuple[str, int]]:
    """The classes of one line, each with its label."""
    return list(zip(predictions.classes, predictions.labels[row].tolist(), strict=True))


class Recordings:
    """The recordings a run was made from, if they are still there and unchanged."""

    def __init__(self, facts: RunFacts) -> None:
        self.facts = facts
        self._changes: dict[str, str] = {}  # source -> why it cannot be shown; empty if it can

    @cached_property
    def _sources(self) -> dict[str, Source] | str:
        try:
            config = load_config(self.facts.config)
            return select_sources(config).sources
        except (ConfigError, DataError):
            return "the sources are no longer where the run found them"

    @property
    def _root(self) -> Path:
        return Path(self.facts.config["data_dir"])

    def read(self, source: str, record: str) -> Record | str:
        """A recording, or the reason why it cannot be shown."""
        if isinstance(self._sources, str):
            return self._sources
        if source not in self._sources:
            return f"{source} is no longer where the run found it"
        if source not in self._changes:
            self._changes[source] = self._changed(source)
        if self._changes[source]:
            return self._changes[source]
        try:
            return self._sources[source].read(self._root, record)
        except (DataError, OSError):
            return "it can no longer be read"

    def unit(self, source: str) -> str:
        """Unit of the source's signals, e.g. `mV`."""
        return "mV" if isinstance(self._sources, str) else self._sources[source].card.unit

    def _changed(self, source: str) -> str:
        """Empty if the source's files are those of the run, else the reason not to show them."""
        entry = {entry.source: entry for entry in self.facts.data}[source]
        run_cache = Path(entry.cache).parent
        cache = run_cache if run_cache.is_dir() else default_cache_dir()
        cache.mkdir(parents=True, exist_ok=True)
        assert not isinstance(self._sources, str)
        digest = content_digest(self._sources[source], self._root, cache)
        return "" if digest == entry.sha256 else f"the files of {source} have changed since"


@styled
def draw(
    wrong: WrongRecording,
    record: Record,
    name: str,
    unit: str,
    synthetic: bool,
    looked: Explanation | str,
) -> Drawing:
    """Ten seconds on ECG paper: the example's own window, or the time around its beat.

    Bands show where the model looked for the wrong class; `looked` may say why it has none.
    """
    start, beat = where(wrong.name, record)
    first = round(start * record.fs)
    signal = record.signal[:, first : first + round(SECONDS * record.fs)]
    shown = replace(record, signal=signal, name=wrong.name)
    strips = ecg_paper.layout(shown.leads, signal.shape[1] / record.fs)
    width, height = ecg_paper.size(strips)
    figure = Figure(figsize=(width / ecg_paper.INCH, height / ecg_paper.INCH), facecolor="white")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    ecg_paper.sheet(axes, shown, strips, synthetic=synthetic, unit=unit)
    if not isinstance(looked, str):
        saliency.bands(axes, strips, looked, start)
    if beat is not None:
        saliency.mark_beat(axes, beat - start)
    leads = ", ".join(lead for lead in LEADS if lead in record.leads)
    caption = (
        f"{wrong.source} {wrong.name}, from {start:g} s of the recording, leads {leads}. "
        f"{signal_quality(assess(signal, record.leads, record.fs))} Printed at its own size, the "
        f"paper is at 25 mm/s and 10 mm/{unit}. {where_it_looked(looked, wrong.wrong_class)}"
    )
    return inline(figure, name, caption)


def where_it_looked(looked: Explanation | str, target: str) -> str:
    """What the bands mean, or why there are none."""
    if isinstance(looked, str):
        return f"Where the model looked is not drawn: {looked}."
    if not looked.leads:
        largest = "; ".join(saliency.feature_sentence(f, target) for f in looked.features[:3])
        return f"The network reads no signal. Its largest features: {largest}."
    sentence = (
        f"Bands, by {saliency.IN_WORDS[looked.method]}: amber speaks for {target}, blue against "
        "it, the more opaque the more."
    )
    if looked.features:
        largest = saliency.feature_sentence(looked.features[0], target)
        sentence += f" The largest of its features: {largest}."
    return sentence


def signal_quality(found: Acceptability) -> str:
    """Whether the model may be asked about a signal, and in which leads heartbeats are not seen."""
    if found.reason:
        return f"Prediction answers this signal with \u201ccannot say\u201d: {found.sentence}."
    bad = [f"{lead.lead} ({SENTENCES[lead.reason]})" for lead in found.leads if lead.reason]
    seen = f"Heartbeats are seen in {len(found.leads) - len(bad)} of {len(found.leads)} leads"
    return f"{seen}, not in {', '.join(bad)}." if bad else f"{seen}."


def where(example: str, record: Record) -> tuple[float, float | None]:
    """Start of the 10 s to draw and, for a beat, its time; in seconds of the recording."""
    tail = example.rpartition("/")[2]
    if recording_of(example) == example:
        return 0.0, None
    if tail.endswith("s"):
        return float(tail[:-1]), None
    beat = int(tail) / record.fs
    duration = record.signal.shape[1] / record.fs
    return max(0.0, min(beat - SECONDS / 2, duration - SECONDS)), beat
