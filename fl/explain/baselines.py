"""What a signal is compared with: a recording in which the model sees nothing to answer."""

import torch
from torch import Tensor

from fl.ecg.tasks import Task
from fl.explain.attribution import Baseline
from fl.explain.reading import Reading
from fl.util.random_streams import stream

DRAWS = 4  # of noise, whose attributions are averaged
DEVIATION = 0.3  # of the noise, in that of a signal


def gradient_baselines(reading: Reading, has_usual_beat: bool, task: Task) -> list[Baseline]:
    """The baselines of integrated gradients; features, standardised, are zero: as usual.

    Of a heartbeat, the patient's own usual beat: an answer depends on what differs from it. Of
    anything else, noise of a third of a lead's deviation, the same draws for every recording. A
    signal of zeros would not do: the networks' first normalisation undoes any scaling, so that all
    the change of a path from zero lies in its first thousandth, where no practical number of
    points finds it. Where an example ends in zeros that are no signal they stay, and the noise is
    around the mean of the signal.
    """
    usual = torch.zeros_like(reading.features)
    if has_usual_beat:
        return [(replacement(reading, True), usual)]
    if not reading.signal.numel():
        return [(reading.signal, usual)]
    return [(_noise(reading, draw, task), usual) for draw in range(DRAWS)]


def replacement(reading: Reading, has_usual_beat: bool) -> Tensor:
    """What stands in for samples that are taken away: (place, lead, sample).

    Of a heartbeat, those of the patient's usual beat; of anything else zero, the mean of a lead
    and what a network is given for a lead that was not recorded.
    """
    if not has_usual_beat or not reading.signal.numel():
        return torch.zeros_like(reading.signal)
    beat, difference = reading.signal[:, :1], reading.signal[:, 1:]
    return torch.cat([beat - difference, torch.zeros_like(difference)], dim=1)


def _noise(reading: Reading, draw: int, task: Task) -> Tensor:
    """White noise in the leads that were recorded: (place, lead, sample)."""
    signal = reading.signal
    drawn = stream(0, "explain", "noise", draw).standard_normal(tuple(signal.shape[1:]))
    noise = torch.from_numpy(drawn).float().expand_as(signal) * (DEVIATION * task.spread)
    if task.padded:
        recorded = signal.flip(-1).cumsum(dim=-1).flip(-1) > 0  # amplitudes are from 0 to 1
        mean = signal.sum(dim=-1, keepdim=True) / recorded.sum(dim=-1, keepdim=True).clamp(min=1)
        noise = (noise + mean) * recorded
    return noise * reading.lead_mask[..., None]
