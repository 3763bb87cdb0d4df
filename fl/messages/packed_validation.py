"""Validation of a small site without the zeros of its histograms, of which nearly all is made."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.evaluation.decisions.score_histograms import ScoreHistograms
from fl.messages.payloads import EvaluationReply, SourceValidation

# Shape of a table of counts, the places in it that are not zero, and the counts there.
Table = tuple[tuple[int, ...], NDArray[np.int64], NDArray[np.int64]]


class PackedSources(Mapping[str, SourceValidation]):
    """Validation by source, each unpacked when it is asked for."""

    def __init__(self, by_source: Mapping[str, SourceValidation]) -> None:
        self._packed: dict[str, tuple[int, tuple[Table, ...]]] = {
            name: (source.n_patients, tuple(map(_packed, vars(source.scores).values())))
            for name, source in by_source.items()
        }

    def __getitem__(self, name: str) -> SourceValidation:
        n_patients, tables = self._packed[name]
        scores = ScoreHistograms(*map(_unpacked, tables))
        return SourceValidation(n_patients=n_patients, scores=scores)

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


def packed_validation(validated: EvaluationReply) -> EvaluationReply:
    """The same validation in a hundredth of the memory where few records were validated."""
    return replace(validated, by_source=PackedSources(validated.by_source))


def _packed(counts: NDArray[Any]) -> Table:
    places = np.flatnonzero(counts)
    return counts.shape, places, np.asarray(counts).ravel()[places]


def _unpacked(table: Table) -> NDArray[np.int64]:
    shape, places, values = table
    counts = np.zeros(shape, dtype=np.int64)
    counts.ravel()[places] = values
    return counts
