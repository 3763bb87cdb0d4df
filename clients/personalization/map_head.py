"""A site's own head: the global head, moved as far as the site's own patients support."""

from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from clients.personalization.head_fit import Floats, Head, HeadData, cross_fitted, fit_head
from clients.personalization.head_inputs import (
    AfterHead,
    HeadInputs,
    after_head,
    head_inputs,
    linear_head,
)
from clients.personalization.own_model import OwnModel
from clients.simulated_sites import Site
from fl.data.cohort import Cohort, Indices
from fl.messages.job import Job
from fl.training.class_imbalance import trainable_examples
from fl.training.losses import patient_losses
from fl.util.random_streams import stream
from partitions.folds import deal_folds
from partitions.splits import TRAIN, VAL

# How far the site's head may move a logit, as the standard deviation of a normal prior; 0 is the
# global head. Cross-validation inside the site chooses one of them. At the sites of one deal (seed
# 98) the best of their training and validation patients were 1 to 8.
SHIFTS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
FOLDS = 5  # of the site's training and validation patients
MOST_EXAMPLES = 500  # of a patient that a head is fitted on, evenly taken: a Holter has thousands
NO_HEAD = "the network has no linear head that could be fitted alone: the global model is tested"


@dataclass(frozen=True, kw_only=True)
class ChosenHead:
    """The outcome of cross-validation inside a site."""

    shift: float  # one of SHIFTS; 0: the global head
    head: Head
    p: Floats  # (example, class) of heads that never saw the example's patient


def map_head(network: nn.Module, site: Site, job: Job) -> OwnModel:
    """Fit the network's head to the site's training and validation patients; no other layer.

    The prior is normal around the global head (see `fit_head`); its width is chosen by the log
    loss in FOLDS folds of the patients. The global model stays where its own head does best in
    these, where there are fewer patients than folds, and where the network has no linear head.
    Validation is answered by heads of the other folds, so that the thresholds chosen from it are
    those of patients whom the head has not seen.
    """
    cohort = Cohort.joined([site.splits[TRAIN], site.splits[VAL]])
    n_patients = cohort.n_patients
    if n_patients < FOLDS:
        note = f"{n_patients} training and validation patients are fewer than {FOLDS}"
        return OwnModel(network=network, note=f"{note}: the global model is tested")
    read = head_inputs(network, cohort, job.config.device)
    if read is None:
        return OwnModel(network=network, note=NO_HEAD)
    chosen = choose_head(network, cohort, read, stream(job.config.seed, "map-head", site.name))
    if not chosen.shift:
        note = f"of {n_patients} training and validation patients the global head does best"
        return OwnModel(network=network, note=f"{note}: the global model is tested")
    _set_head(network, chosen.head)
    return OwnModel(
        network=network,
        changed=True,
        validated=chosen.p[len(site.splits[TRAIN]) :],
        note=f"a head fitted to {n_patients} training and validation patients, with a prior of "
        f"{chosen.shift:g} (standard deviation of a logit) around the global head",
    )


def choose_head(
    network: nn.Module, cohort: Cohort, read: HeadInputs, rng: np.random.Generator
) -> ChosenHead:
    """The head, and how far it may be from the global one, for these examples."""
    data, scale, after = _data(cohort, read), _scale(cohort, read), _after(network)
    data = replace(data, inputs=data.inputs / scale)
    prior = _head_of(network)
    scaled = Head(weight=prior.weight * scale, bias=prior.bias)
    precisions = [_precision(shift, data.inputs.shape[1]) for shift in SHIFTS]
    kept = _evenly_taken(cohort)[read.example]
    found = cross_fitted(
        data,
        _folds(cohort, rng)[read.example],
        scaled,
        precisions,
        n_examples=len(cohort),
        fitted=kept,
        after=after,
    )
    losses = [patient_loss(cohort, p) for p in found]
    best = int(np.argmin(losses))  # of equal ones the narrowest prior
    p = np.round(found[best], 7)
    if not SHIFTS[best]:
        return ChosenHead(shift=0.0, head=prior, p=p)
    fitted = fit_head(data.take(kept), scaled, precisions[best], after=after)
    moved = (fitted.weight != scaled.weight).any(axis=1)
    weight = np.where(moved[:, None], fitted.weight / scale, prior.weight)
    return ChosenHead(shift=SHIFTS[best], head=Head(weight=weight, bias=fitted.bias), p=p)


def patient_loss(cohort: Cohort, p: Floats) -> float:
    """Mean over patients of the mean loss of their examples of classes that training uses."""
    rows = trainable_examples(cohort)
    losses = patient_losses(cohort.task, cohort.labels[rows], p[rows], cohort.patients[rows])
    return float(losses.mean())


def _precision(shift: float, width: int) -> float:
    """The precision of each weight with which a logit changes by `shift`.

    Inputs have a mean square of one; the bias is one more weight.
    """
    return (width + 1) / shift**2 if shift else np.inf


def _data(cohort: Cohort, read: HeadInputs) -> HeadData:
    task = cohort.task
    _, patient = np.unique(cohort.patients, return_inverse=True)
    return HeadData(
        inputs=read.inputs.astype(np.float64),
        features=read.features.astype(np.float64),
        example=read.example,
        labels=cohort.labels[read.example],
        patient=patient[read.example],
        exclusive=task.exclusive,
        trainable=np.isin(task.classes, task.trainable),
    )


def _scale(cohort: Cohort, read: HeadInputs) -> float:
    """Root mean square of what the head reads; every patient counts alike."""
    weights = cohort.patient_weights(0)[read.example]
    weights = weights / np.bincount(read.example)[read.example]
    squares = np.square(read.inputs, dtype=np.float64).mean(axis=1)
    return float(np.sqrt((weights * squares).sum() / weights.sum())) or 1.0


def _folds(cohort: Cohort, rng: np.random.Generator) -> Indices:
    """The fold of each example's patient: (example,)."""
    names, person = np.unique(cohort.patients, return_inverse=True)
    present = np.zeros((len(names), len(cohort.task.classes)), dtype=np.int64)
    np.add.at(present, person, cohort.labels == 1)
    return np.asarray(deal_folds(present > 0, FOLDS, rng)[person])


def _evenly_taken(cohort: Cohort) -> NDArray[np.bool_]:
    """At most MOST_EXAMPLES of each patient, evenly over the patient's: (example,)."""
    _, person, counts = np.unique(cohort.patients, return_inverse=True, return_counts=True)
    order = np.argsort(person, kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(counts.cumsum() - counts, counts)
    of = np.maximum(counts[person], MOST_EXAMPLES)
    # An example is taken where the number of those taken so far rises.
    return np.asarray((rank + 1) * MOST_EXAMPLES // of > rank * MOST_EXAMPLES // of)


def _head_of(network: nn.Module) -> Head:
    head = linear_head(network)
    assert head is not None  # or there are no inputs
    weight, bias = (p.detach().cpu().numpy().astype(np.float64) for p in (head.weight, head.bias))
    return Head(weight=weight, bias=bias)


def _set_head(network: nn.Module, found: Head) -> None:
    head = linear_head(network)
    assert head is not None  # or there are no inputs
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(found.weight))
        head.bias.copy_(torch.from_numpy(found.bias))


def _after(network: nn.Module) -> AfterHead | None:
    """What follows the head, in the precision of the fit; its weights stay as they are."""
    module = after_head(network)
    if module is None:
        return None
    frozen: AfterHead = deepcopy(module).cpu().double().eval().requires_grad_(False)
    return frozen
