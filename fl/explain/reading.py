"""What a network reads to answer one example, and how strongly it then answers a class."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fl.data.beat_rows import covering_rows
from fl.data.cohort import Cohort
from fl.models.network_input import network_input

BATCH_SAMPLES = 64_000  # samples per lead that are read at once, as in prediction


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One input of a network: an example's crop, or the row of neighbouring beats it is read in."""

    signal: Tensor  # (place, lead, sample); (place, lead, 0) where only features are read
    lead_mask: Tensor  # (place, lead)
    features: Tensor  # (place, feature)
    place: int  # of the example in its row; 0 where each is read by itself
    start: int  # of the crop: sample of the example


def readings(network: nn.Module, cohort: Cohort, example: int, crops: int) -> list[Reading]:
    """Everything that is read of one example: its evenly spaced crops, or the row it stands in."""
    read = network_input(network)
    make = cohort.batch if read.signal else cohort.batch_without_signals
    if read.row > 1:
        rows, answered = covering_rows(cohort, read.row, read.later)
        row, place = np.argwhere((rows == example) & answered)[0].tolist()
        groups = [(rows[row], np.zeros(read.row, dtype=np.int64), place)]
    else:
        number, starts = cohort.even_crops(crops)
        chosen = np.flatnonzero(number == example)
        groups = [(number[[at]], starts[[at]], 0) for at in chosen.tolist()]
    found = []
    for members, starts, place in groups:
        batch = make(members, starts)
        found.append(
            Reading(
                signal=batch.signal,
                lead_mask=batch.lead_mask,
                features=batch.features,
                place=place,
                start=int(starts[place]),
            )
        )
    return found


def log_odds(
    network: nn.Module, reading: Reading, signals: Tensor, features: Tensor, target: int, only: bool
) -> Tensor:
    """The log-odds of a class for variants of one reading: (variant,).

    `signals` is (variant, place, lead, sample) and `features` (variant, place, feature); the lead
    mask stays. Where an example has exactly one class (`only`), the log-odds are those of the
    softmax probability: the class's logit minus the logarithm of the others' summed exponentials.
    Otherwise they are the logit. A logit alone means nothing where only differences count.
    """
    variants, places = len(signals), reading.signal.shape[0]
    mask = reading.lead_mask.expand(variants, *reading.lead_mask.shape).flatten(0, 1)
    logits = network(signals.flatten(0, 1), mask, features.flatten(0, 1))
    answered: Tensor = logits.double().unflatten(0, (variants, places))[:, reading.place]
    if not only:
        return answered[:, target]
    others = torch.arange(answered.shape[1]) != target
    return answered[:, target] - answered[:, others].logsumexp(dim=1)


def slices(variants: int, reading: Reading) -> Iterator[slice]:
    """The variants in portions that fit the processor's memory."""
    size = max(1, reading.signal[0, 0].numel()) * reading.signal.shape[0]
    step = max(1, BATCH_SAMPLES // size)
    for begin in range(0, variants, step):
        yield slice(begin, begin + step)
