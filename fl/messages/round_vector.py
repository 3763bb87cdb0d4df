"""All that a site answers in a round as one vector of integers, whose sum over sites is all the
server needs: its update, and its validation of the weights it was sent.

The two halves of a plain run's replies, `TrainingReply` and `EvaluationReply`, go in and come out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fl.config.run_config import RunConfig
from fl.ecg.tasks import TASKS, Task
from fl.evaluation.decisions.score_histograms import (
    ScoreHistograms,
    empty_histograms,
)
from fl.messages.payloads import EvaluationReply, SourceValidation, TrainingReply
from fl.models import NetworkParts, parts_of
from fl.privacy.fixed_point_sums import (
    FixedPointSums,
    UpdateCounts,
    Vector,
    fixed_loss,
    loss_of,
)
from fl.training.state_dict import Weights, unmerged_entries

ALL_SITES = ""  # the name of what is a sum over sites
UPDATE_NUMBERS = 4  # beside the changes and their counts: patients, examples, steps, loss
VALIDATION_NUMBERS = 3  # beside the sources: records, patients, loss


@dataclass(frozen=True, kw_only=True)
class RoundVector:
    """What a round's vectors hold, the same for every site.

    `sums`: of the updates; None where the sites only validate. `sources`: those of which
    any site validates records; None where nothing is validated.
    """

    task: Task
    sums: FixedPointSums | None
    sources: Sequence[str] | None

    @property
    def size(self) -> int:
        """Numbers in a vector."""
        update = self.sums.size + UPDATE_NUMBERS if self.sums else 0
        if self.sources is None:
            return update
        return update + VALIDATION_NUMBERS + len(self.sources) * (1 + self._histogram_size)

    def encode(self, trained: TrainingReply | None, validated: EvaluationReply | None) -> Vector:
        """A site's vector; zeros for a half that it has not done. `ValueError` if one lacks room.

        The update's counts are already those by which it weighs.
        """
        parts: list[Vector] = []
        if self.sums is not None:
            parts.append(encode_update(self.sums, trained))
        if self.sources is not None:
            parts.append(self._encode_validation(self.sources, validated))
        return np.concatenate(parts)

    def decode(self, total: Vector) -> tuple[TrainingReply | None, EvaluationReply | None]:
        """From the sum of the vectors: an update that stands for all, and their validation."""
        trained = validated = None
        place = 0
        if self.sums is not None:
            place = self.sums.size + UPDATE_NUMBERS
            trained = decode_update(self.sums, total[:place])
        if self.sources is not None:
            validated = self._decode_validation(self.sources, total[place:])
        return trained, validated

    def _encode_validation(
        self, sources: Sequence[str], validated: EvaluationReply | None
    ) -> Vector:
        if validated is None:
            size = VALIDATION_NUMBERS + len(sources) * (1 + self._histogram_size)
            return np.zeros(size, dtype=np.int64)
        strange = sorted(validated.by_source.keys() - set(sources))
        if strange:
            raise ValueError(f"records of {strange[0]} were not announced")
        loss = fixed_loss(validated.loss_sum)
        parts = [_whole([validated.n_records, validated.n_patients, loss])]
        nothing = SourceValidation(n_patients=0, scores=self._empty)
        for source in sources:
            found = validated.by_source.get(source, nothing)
            parts.append(_whole([found.n_patients]))
            parts += [np.asarray(counts).ravel() for counts in vars(found.scores).values()]
        return np.concatenate(parts)

    def _decode_validation(self, sources: Sequence[str], total: Vector) -> EvaluationReply:
        n_records, n_patients, loss = total[:VALIDATION_NUMBERS].tolist()
        rows = total[VALIDATION_NUMBERS:].reshape(len(sources), 1 + self._histogram_size)
        by_source = {}
        for source, row in zip(sources, rows, strict=True):
            place, tables = 1, []
            for like in vars(self._empty).values():
                tables.append(row[place : place + like.size].reshape(like.shape))
                place += like.size
            scores = ScoreHistograms(*tables)
            by_source[source] = SourceValidation(n_patients=int(row[0]), scores=scores)
        return EvaluationReply(
            site=ALL_SITES,
            n_records=n_records,
            n_patients=n_patients,
            loss_sum=loss_of(loss),
            by_source=by_source,
            report=None,
        )

    @property
    def _empty(self) -> ScoreHistograms:
        return empty_histograms(len(self.task.classes))

    @property
    def _histogram_size(self) -> int:
        return sum(counts.size for counts in vars(self._empty).values())


def encode_update(sums: FixedPointSums, trained: TrainingReply | None) -> Vector:
    """An update and the numbers beside it; zeros for none."""
    if trained is None:
        return np.zeros(sums.size + UPDATE_NUMBERS, dtype=np.int64)
    counts = UpdateCounts(
        records=trained.n_records, annotated=trained.annotated, recorded=trained.recorded
    )
    loss = fixed_loss(trained.loss_sum)
    numbers = [trained.n_patients, trained.n_seen, trained.steps, loss]
    return np.append(sums.encode(trained.weights, trained.extra, counts), _whole(numbers))


def decode_update(sums: FixedPointSums, total: Vector) -> TrainingReply:
    """From the sum of updates one that stands for all: their average, and sums of their counts."""
    weights, extra, counts = sums.decode(total[: sums.size])
    n_patients, n_seen, steps, loss = total[sums.size :].tolist()
    return TrainingReply(
        site=ALL_SITES,
        weights=weights,
        extra=extra,
        n_records=counts.records,
        annotated=counts.annotated,
        recorded=counts.recorded,
        loss_sum=loss_of(loss),
        n_seen=n_seen,
        steps=steps,
        n_patients=n_patients,
    )


def round_vector(
    config: RunConfig,
    weights: Weights,
    extra: Weights,
    most: int | None,
    sources: Sequence[str] | None,
) -> RoundVector:
    """The vectors of a round, from what was sent to the sites: server and sites find the same.

    `most`: what the updates weigh together at most; None: the sites only validate.
    """
    task = TASKS[config.task]
    sums = None
    if most is not None:
        parts = parts_of(config.model, task) if config.averaging == "evidence" else NetworkParts()
        unmerged = unmerged_entries(config)
        merged = {name: value for name, value in weights.items() if name not in unmerged}
        sums = FixedPointSums(merged, extra, parts, len(task.classes), task.leads, most)
    return RoundVector(task=task, sums=sums, sources=sources)


def _whole(numbers: Sequence[int]) -> Vector:
    return np.array(numbers, dtype=np.int64)
