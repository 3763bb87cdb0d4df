"""What a site sends is checked before it touches anything: `ValueError` says what is wrong.

Counts are bounded by what the site answered to the server's first question, and that answer by
numbers that no hospital reaches.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.ecg.tasks import TASKS, Task
from fl.messages.payloads import SiteInfo, TrainingReply
from fl.privacy.egress_policy import SITE
from fl.privacy.fixed_point_sums import LARGEST_LOSS
from fl.training.state_dict import Weights, in_one_row

MOST_PATIENTS = 10**7  # of one site
MOST_RECORDS = 10**9  # of one site
MOST_SEEN = 10**12  # examples of one round of training
# No entry of a trained network is near it. The sum over many sites of what is smaller is finite,
# and so is what a network makes of it.
LARGEST_VALUE = 1e6
# Of what a strategy sends beside the weights: changes of weights divided by learning rates. These
# limits keep a change below the bounds of `fl/privacy/fixed_point_sums.py`.
LARGEST_EXTRA = 1e9
LARGEST_CHANGE = 1000.0  # of a weight in a round


def validate_site_info(info: SiteInfo) -> None:
    """`ValueError` unless a site's first words can be those of a hospital."""
    if not SITE.fullmatch(info.site):
        raise ValueError(f"{info.site!r} is no name of a site")
    for name in ("n_train", "n_val", "n_test"):
        if not 0 <= getattr(info, name) <= MOST_PATIENTS:
            raise ValueError(f"{name} is {getattr(info, name)}, not at most {MOST_PATIENTS}")
    if not info.n_train <= info.n_records <= MOST_RECORDS:
        raise ValueError(f"{info.n_records} records of {info.n_train} training patients")


def validate_weights(
    weights: Mapping[str, NDArray[Any]], like: Weights, largest: float = LARGEST_VALUE
) -> None:
    """`ValueError` unless names, types and shapes agree and every number is one of a network."""
    if weights.keys() != like.keys():
        odd = sorted(weights.keys() ^ like.keys())
        raise ValueError(f"entries differ from the model's ({odd[0]}, ...)")
    for name, value in weights.items():
        if value.shape != like[name].shape:
            raise ValueError(f"{name} has shape {value.shape}, not {like[name].shape}")
        if value.dtype != like[name].dtype:
            raise ValueError(f"{name} has type {value.dtype}, not {like[name].dtype}")
        if not np.isfinite(value).all():
            raise ValueError(f"{name} holds NaN or infinite values")
        if value.dtype.kind == "f" and value.size and np.abs(value).max() > largest:
            raise ValueError(f"{name} holds {np.abs(value).max():g}, more than {largest:g}")


def validate_change(weights: Mapping[str, NDArray[Any]], start: Weights) -> None:
    """`ValueError` if an entry changed in one round by more than any training changes it."""
    for name, before in start.items():
        change = np.abs(np.subtract(weights[name], before, dtype=np.float64)).max(initial=0.0)
        if change > LARGEST_CHANGE:
            raise ValueError(f"{name} changed by {change:g}, more than {LARGEST_CHANGE:g}")


@dataclass(frozen=True, kw_only=True)
class UpdateCheck:
    """All checks of an update. `shared` and `extra` are what the site was sent."""

    shared: Weights
    extra: Weights
    task: str
    weighting: str

    def __call__(self, trained: TrainingReply, info: SiteInfo) -> None:
        """`ValueError` unless the update can be merged; `info` are the site's first words."""
        if not self._within_limits(trained):  # then what is wrong, if it is
            validate_weights(trained.weights, self.shared)
            validate_change(trained.weights, self.shared)
            validate_weights(trained.extra, self.extra, LARGEST_EXTRA)
        validate_counts(trained, info, TASKS[self.task], self.weighting)

    @cached_property
    def _before(self) -> NDArray[np.float64]:
        return in_one_row(self.shared.values())

    def _within_limits(self, trained: TrainingReply) -> bool:
        """Whether all arrays are right, found from all values at once: False where one is NaN."""
        if not (_like(trained.weights, self.shared) and _like(trained.extra, self.extra)):
            return False
        after = in_one_row(trained.weights[name] for name in self.shared)
        extra = in_one_row(trained.extra[name] for name in self.extra)
        return bool(
            _largest(after) <= LARGEST_VALUE
            and _largest(after - self._before) <= LARGEST_CHANGE
            and _largest(extra) <= LARGEST_EXTRA
        )


def _like(arrays: Mapping[str, NDArray[Any]], like: Weights) -> bool:
    """Whether names, shapes and types agree."""
    return arrays.keys() == like.keys() and all(
        arrays[name].shape == value.shape and arrays[name].dtype == value.dtype
        for name, value in like.items()
    )


def _largest(values: NDArray[np.float64]) -> np.float64:
    largest: np.float64 = np.abs(values).max(initial=0.0)
    return largest


def validate_counts(
    trained: TrainingReply, info: SiteInfo, task: Task, weighting: str = "records"
) -> None:
    """`ValueError` unless the update can be weighed against the others'."""
    if trained.site != info.site:
        raise ValueError(f"it calls itself {trained.site!r}")
    if trained.n_records <= 0:
        raise ValueError("it trained on no record")
    if not 0 <= trained.n_patients <= trained.n_records:
        raise ValueError(f"{trained.n_records} records of {trained.n_patients} patients")
    if trained.n_records > info.n_records or trained.n_patients > info.n_train:
        raise ValueError(
            f"{trained.n_records} records of {trained.n_patients} patients; it began the run with "
            f"{info.n_records} of {info.n_train}"
        )
    if weighting == "patients" and trained.n_patients == 0:
        raise ValueError("it has too few patients to be weighed by them (--weighting patients)")
    most = trained.n_patients if weighting == "patients" else trained.n_records
    for name, wanted in (("annotated", len(task.classes)), ("recorded", task.leads)):
        counts = getattr(trained, name)
        if len(counts) != wanted or min(counts) < 0:
            raise ValueError(f"{name} is {counts}, not {wanted} counts")
        if max(counts) > most:
            raise ValueError(f"{name} is {counts}, of {most} in all")
    if not 0 <= trained.steps <= trained.n_seen <= MOST_SEEN:
        raise ValueError(f"{trained.steps} steps on {trained.n_seen} examples")
    # The loss may be below 0: a strategy's term may be.
    if not math.isfinite(trained.loss_sum):
        raise ValueError("its loss is NaN or infinite")
    if abs(trained.loss_sum) > LARGEST_LOSS:
        raise ValueError(f"its loss is {trained.loss_sum:g} over {trained.n_seen} examples")
