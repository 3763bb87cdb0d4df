"""Several sites' updates as one sum, added up where they were trained.

A round of many small sites is over when their updates have been sent, checked and added, which
takes longer than the training. So a worker checks the updates of the sites that it trained in one
call, and sends their sum: whole numbers, whose sum has the same bits in any order. Of each site it
sends counts, loss and validation, and how long its update is.

An update that is much longer than the others of its call is not added: the server gets it as it
is, for it may have to be clipped. So is every reply that is not as it should be, so that the
server refuses it by name. If the bound over all sites turns out to be so low that a sum holds an
update above it, the sites of that sum are asked again, and then each by itself.

Where updates travel one by one and would fill memory, the server adds them up in the same way as
they come (`kept_updates.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from flwr.app import Message

from fl.config.run_config import RunConfig
from fl.ecg.tasks import TASKS, Task
from fl.messages.flower_codec import read_incoming_validation, read_training_reply
from fl.messages.packed_validation import packed_validation
from fl.messages.payloads import EvaluationReply, SiteInfo, TrainingReply
from fl.messages.round_vector import UPDATE_NUMBERS, encode_update, round_vector
from fl.messages.update_weight import weighted_update
from fl.privacy.fixed_point_sums import FixedPointSums, Vector
from fl.training.state_dict import Weights
from partitions.splits import VAL
from server.aggregation.clipping import FEWEST_SITES, Norms, any_too_long, update_norms

# An update is sent by itself if it is longer than this share of the bound, by its call's median.
SUSPICIOUS = 0.5


@dataclass(frozen=True, kw_only=True)
class UpdateSum:
    """The sum of several sites' updates, and of each site all but its arrays."""

    total: Vector
    updates: tuple[TrainingReply, ...]  # without weights and extra arrays
    norms: tuple[Norms, ...]  # of each update
    validated: tuple[EvaluationReply, ...]  # the weights as they were sent; empty if not asked for

    @property
    def sites(self) -> set[str]:
        """Whose updates are in the sum."""
        return {update.site for update in self.updates}

    def __add__(self, other: "UpdateSum") -> "UpdateSum":
        return UpdateSum(
            total=self.total + other.total,
            updates=self.updates + other.updates,
            norms=self.norms + other.norms,
            validated=self.validated + other.validated,
        )


@dataclass(frozen=True, kw_only=True)
class SumUpdates:
    """Adds up the updates of a round's sites; `shared` and `extra` are what they were sent.

    `most`: what the updates of the round weigh together at most. `check` and `check_validation`
    raise `ValueError` for what is not to be added.
    """

    config: RunConfig
    shared: Weights
    extra: Weights
    most: int
    sites: Mapping[int, SiteInfo]  # first words of each node's site
    validates: bool
    check: Callable[[TrainingReply, SiteInfo], None]
    check_validation: Callable[[EvaluationReply, SiteInfo, Task, str], EvaluationReply]

    def __call__(self, replies: Sequence[Message]) -> tuple[UpdateSum, tuple[str, ...]] | None:
        """The sum of updates, and the numbers of the requests that it answers.

        None if there are too few to say which of them is too long.
        """
        sums, found = self._sums, []
        for reply in replies:
            try:
                trained, validated = self._read(reply)
                vector = self._encoded(sums, trained)
            except MemoryError:  # of this machine
                raise
            except Exception:  # the server reads the reply again, and says what is wrong
                continue
            norms = update_norms(trained, self.shared, self.extra)
            without_arrays = replace(trained, weights={}, extra={})
            number = reply.metadata.reply_to_message_id
            found.append((number, without_arrays, norms, vector, validated))
        if len(found) < FEWEST_SITES:
            return None
        multiple = SUSPICIOUS * self.config.clip_updates
        odd = any_too_long([norms for _, _, norms, _, _ in found], multiple)
        added = [one for one, is_odd in zip(found, odd, strict=True) if not is_odd]
        numbers, updates, norms_of, vectors, validations = zip(*added, strict=True)
        total = UpdateSum(
            total=np.sum(vectors, axis=0),
            updates=updates,
            norms=norms_of,
            validated=tuple(v for v in validations if v is not None),
        )
        return total, numbers

    def add_up(
        self, updates: Sequence[TrainingReply], others: Sequence[Norms] = ()
    ) -> UpdateSum | None:
        """The sum of updates that are checked already, without those that may have to be clipped.

        `others`: norms of further updates of the round. None if no update can be added.
        """
        norms = [update_norms(one, self.shared, self.extra) for one in updates]
        if len(norms) + len(others) < FEWEST_SITES:
            return None
        odd = any_too_long([*norms, *others], SUSPICIOUS * self.config.clip_updates)
        sums, added, norms_of = self._sums, [], []
        total = np.zeros(sums.size + UPDATE_NUMBERS, dtype=np.int64)
        for update, norm, is_odd in zip(updates, norms, odd, strict=False):
            if is_odd:
                continue
            try:
                total += self._encoded(sums, update)
            except ValueError:  # merging says what is wrong with it
                continue
            added.append(replace(update, weights={}, extra={}))
            norms_of.append(norm)
        if not added:
            return None
        return UpdateSum(total=total, updates=tuple(added), norms=tuple(norms_of), validated=())

    @cached_property
    def _sums(self) -> FixedPointSums:
        sums = round_vector(self.config, self.shared, self.extra, self.most, None).sums
        assert sums is not None
        return sums

    def _encoded(self, sums: FixedPointSums, update: TrainingReply) -> Vector:
        return encode_update(sums, weighted_update(update, self.config.weighting))

    def _read(self, reply: Message) -> tuple[TrainingReply, EvaluationReply | None]:
        info = self.sites[reply.metadata.src_node_id]
        trained = read_training_reply(reply)
        self.check(trained, info)
        if not self.validates:
            return trained, None
        task = TASKS[self.config.task]
        validated = read_incoming_validation(reply)
        return trained, packed_validation(self.check_validation(validated, info, task, VAL))


def sites_to_ask_again(
    sums: Sequence[UpdateSum], others: Sequence[Norms], multiple: float
) -> list[UpdateSum]:
    """The sums that hold an update above the bound over all sites; `others` are in no sum."""
    if not sums:
        return []
    lengths = [*others, *(norms for one in sums for norms in one.norms)]
    odd, place, found = any_too_long(lengths, multiple), len(others), []
    for one in sums:
        if any(odd[place : place + len(one.norms)]):
            found.append(one)
        place += len(one.norms)
    return found
