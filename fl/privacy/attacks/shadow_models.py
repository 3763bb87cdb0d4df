"""Shadow models: what a model would answer had these patients trained it, and those not."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import nn

from fl.data.cohort import Cohort
from fl.privacy.attacks.likelihood_ratio import draw_halves
from fl.privacy.attacks.patient_scores import losses_by_patient, some_of_each
from fl.training.loop import TrainingPlan, fit
from fl.util.random_streams import torch_seed


@dataclass(frozen=True, kw_only=True)
class Shadows:
    """The confidences of several shadow models in the same patients, in order of name."""

    confidence: NDArray[np.float64]  # (model, patient)
    trained: NDArray[np.bool_]  # (model, patient) whether the patient trained the model


def train_shadows(
    start: Callable[[int], nn.Module],
    cohort: Cohort,
    plan: TrainingPlan,
    models: int,
    *name: str | int,
    trained: Callable[[int], None] = lambda number: None,
) -> Shadows:
    """Train shadow models on halves of a cohort's patients, each with all of its examples.

    `start(seed)` makes the network that a shadow model starts from; `plan` is how the attacker
    trains it, with other random numbers for each model; `trained` is called after each. Raises
    DataError if a half shows no class that is trained on.
    """
    names = np.unique(cohort.patients)
    halves = draw_halves(len(names), models, plan.seed, *name)
    confidence = np.zeros(halves.shape)
    for number, half in enumerate(halves):
        seed = torch_seed(plan.seed, "shadow", *name, number) % 2**31
        network = start(seed)
        rows = np.flatnonzero(np.isin(cohort.patients, names[half]))
        fit(network, cohort.take(rows), replace(plan, seed=seed))
        seen = losses_by_patient(network, some_of_each(cohort, network), plan.device)
        confidence[number] = seen.confidence
        trained(number + 1)
    return Shadows(confidence=confidence, trained=halves)
