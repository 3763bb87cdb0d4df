"""How much of some training patients' recordings one gradient of each gives away."""

import numpy as np
import torch

from fl.data.cohort import Cohort, Indices
from fl.ecg.records import LEADS
from fl.ecg.tasks import Task
from fl.models import build_network, parameters
from fl.privacy.attacks.attack_report import Inversion, LeadMatch
from fl.privacy.attacks.gradient_inversion import (
    STEPS,
    Reconstruction,
    correlation,
    invert,
    one_example,
    seen_gradient,
    shifted_correlation,
)
from fl.util.random_streams import stream, torch_seed

NETWORK = "cnn_simple"  # of the networks that read a signal, the one with the fewest layers
FEWEST = 2  # recordings: each reconstruction is also compared with the others


def invert_recordings(cohort: Cohort, most: int, seed: int, steps: int = STEPS) -> Inversion | None:
    """Attack the first example of at most `most` patients of a cohort, drawn by `seed`.

    The network is NETWORK with random weights, as it is before the first step of a run. None with
    fewer than two patients.
    """
    chosen = _one_of_each(cohort, most, seed)
    if len(chosen) < FEWEST:
        return None
    torch.manual_seed(torch_seed(seed, "inversion", "network"))
    network = build_network(NETWORK, cohort.task)
    true = [one_example(cohort, int(example)) for example in chosen]
    found = [
        invert(network, cohort.task, one, seen_gradient(network, cohort.task, one), seed, steps)
        for one in true
    ]
    signals = [one.signal[0].numpy() for one in true]
    recorded = [one.lead_mask[0].numpy() > 0 for one in true]
    matches = {
        name: _match(lead, found, signals, [bool(mask[lead]) for mask in recorded])
        for lead, name in enumerate(lead_names(cohort.task))
    }
    return Inversion(
        network=NETWORK,
        weights=parameters(network),
        steps=steps,
        recordings=len(found),
        cosine=float(np.median([one.cosine for one in found])),
        leads={name: match for name, match in matches.items() if match is not None},
    )


def lead_names(task: Task) -> tuple[str, ...]:
    """What the rows of the network's input are called."""
    if task.leads == len(LEADS):
        return tuple(LEADS)
    return tuple(f"input {number + 1}" for number in range(task.leads))


def _one_of_each(cohort: Cohort, most: int, seed: int) -> Indices:
    """The first example of each of a few patients."""
    _, first = np.unique(cohort.patients, return_index=True)
    drawn = stream(seed, "inversion", "patients").permutation(len(first))[:most]
    return np.sort(first[drawn])


def _match(
    lead: int,
    found: list[Reconstruction],
    signals: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]],
    recorded: list[bool],
) -> LeadMatch | None:
    """How alike the reconstructions of one lead are; None unless two recordings have it."""
    with_lead = [number for number, has in enumerate(recorded) if has]
    if len(with_lead) < FEWEST:
        return None
    pairs = [(found[n].signal[lead], signals[n][lead]) for n in with_lead]
    others = [
        shifted_correlation(found[n].signal[lead], signals[other][lead])
        for n in with_lead
        for other in with_lead
        if other != n
    ]
    return LeadMatch(
        recordings=len(pairs),
        correlation=float(np.median([correlation(*pair) for pair in pairs])),
        shifted=float(np.median([shifted_correlation(*pair) for pair in pairs])),
        shifted_other=float(np.median(others)),
    )
