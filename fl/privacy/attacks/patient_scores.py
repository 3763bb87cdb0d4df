"""What an attacker reads from a model about each patient: the loss of the patient's examples."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from fl.data.cohort import Cohort, Indices
from fl.models.network_input import network_input
from fl.training.loop import predict
from fl.training.losses import example_losses

PER_PATIENT = 16  # most examples of a patient whose losses are averaged
SMALLEST_LOSS = 1e-9


@dataclass(frozen=True)
class PatientLosses:
    """What a model gives for each patient, in order of the patients' names: (patient,) each."""

    loss: NDArray[np.float64]  # mean over the patient's examples
    # Mean over the examples of log(q / (1 - q)), where q is the probability of all of an
    # example's annotated labels: nearly normal over trainings, as the ratio of likelihoods needs.
    confidence: NDArray[np.float64]


def losses_by_patient(network: nn.Module, cohort: Cohort, device: str = "cpu") -> PatientLosses:
    """What the network gives for each patient of a cohort, in order of name.

    The confidence is that of Carlini et al. 2022, arXiv:2112.03570. We differ where an example has
    any number of labels: theirs have one.
    """
    p = predict(network, cohort, device=device)
    loss = example_losses(cohort.task, cohort.labels, p)
    # `example_losses` divides by the number of classes unless exactly one is true.
    together = loss if cohort.task.exclusive else loss * len(cohort.task.classes)
    confidence = -np.log(np.expm1(together.clip(SMALLEST_LOSS, None)))
    return PatientLosses(by_patient(loss, cohort), by_patient(confidence, cohort))


def by_patient(values: NDArray[np.float64], cohort: Cohort) -> NDArray[np.float64]:
    """The mean of each patient's examples, in order of name: (example,) -> (patient,)."""
    _, patient = np.unique(cohort.patients, return_inverse=True)
    return np.asarray(np.bincount(patient, values) / np.bincount(patient))


def some_of_each(cohort: Cohort, network: nn.Module, most: int = PER_PATIENT) -> Cohort:
    """At most so many examples of each patient, evenly spaced: a Holter patient has hundreds.

    A network that reads rows of neighbours is shown all of them.
    """
    if network_input(network).row > 1:
        return cohort
    order = np.argsort(cohort.patients, kind="stable")
    _, counts = np.unique(cohort.patients, return_counts=True)
    taken = [_evenly(own, most) for own in np.split(order, counts.cumsum()[:-1])]
    return cohort.take(np.sort(np.concatenate(taken))) if taken else cohort


def _evenly(examples: Indices, most: int) -> Indices:
    if len(examples) <= most:
        return examples
    return examples[np.linspace(0, len(examples) - 1, most).round().astype(np.int64)]
