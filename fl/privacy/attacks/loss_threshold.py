"""Attacks that need a model and nothing else: a training patient's loss is small, or fell."""

import numpy as np
from numpy.typing import NDArray

from fl.privacy.attacks.patient_scores import PatientLosses

Scores = NDArray[np.float64]


def loss_score(seen: PatientLosses) -> Scores:
    """Higher for patients whose loss is small: (patient,).

    Source: Yeom et al. 2018, arXiv:1709.01604, whose threshold is the mean training loss; here
    every threshold is measured.
    """
    return -seen.loss


def fall_score(before: PatientLosses, after: PatientLosses) -> Scores:
    """Higher for patients whose loss fell from one set of weights to a later one: (patient,).

    What a coordinator can do that knows the weights it sent and those that came back: the loss
    before says how hard a patient is. Source: differences of losses over updates as in Jagielski
    et al. 2022, arXiv:2202.12447.
    """
    return before.loss - after.loss
