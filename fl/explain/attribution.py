"""Three ways to say which part of the input an answer depends on, for one reading of a network."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fl.explain.reading import Reading, log_odds, slices
from fl.models.reslstm_temporalse import TemporalSE

Baseline = tuple[Tensor, Tensor]  # signal (place, lead, sample) and features (place, feature)

STEPS = 8  # points of a path at first; doubled until the sum is right, up to MOST_STEPS
MOST_STEPS = 512
TOLERANCE = 0.02, 0.05  # of the sum: this, plus this share of the difference of the log-odds


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """How much each number of a reading raises (or, negative, lowers) a class's log-odds."""

    signal: Tensor  # (lead, sample) float64; (lead, 0) where no signal is read
    features: Tensor  # (place, feature) float64, of the example and of its neighbours in the row
    difference: float  # log-odds of the reading minus those of the baseline
    error: float  # difference minus the sum of all attributions: 0 if the method is complete


def integrated_gradients(
    network: nn.Module,
    reading: Reading,
    baselines: list[Baseline],
    target: int,
    only: bool,
) -> Attribution:
    """The gradient, summed along straight paths from baselines to the reading; their mean.

    Source: Sundararajan et al. 2017, arXiv:1703.01365; over several baselines Erion et al. 2021,
    10.1038/s42256-021-00343-w. The sum of all attributions is the difference of the log-odds
    (completeness): until it is so within TOLERANCE, the points of the path that is furthest from
    its own difference are doubled.
    """
    ends = [(reading.signal, reading.features), *baselines]
    with torch.no_grad():
        signals, numbers = (torch.stack(part) for part in zip(*ends, strict=True))
        whole, *before = log_odds(network, reading, signals, numbers, target, only).tolist()
    difference = whole - sum(before) / len(before)
    steps = [STEPS] * len(baselines)
    paths = _paths(network, reading, baselines, target, only, STEPS)
    while True:
        sums = [(signal.sum() + features.sum()).item() for signal, features in paths]
        errors = [whole - start - found for start, found in zip(before, sums, strict=True)]
        error = sum(errors) / len(errors)
        most = TOLERANCE[0] + TOLERANCE[1] * abs(difference)
        unfinished = [place for place, points in enumerate(steps) if points < MOST_STEPS]
        if abs(error) <= most or not unfinished:
            break
        worst = max(unfinished, key=lambda place: abs(errors[place]))
        steps[worst] *= 2
        again = [baselines[worst]]
        (paths[worst],) = _paths(network, reading, again, target, only, steps[worst])
    signal, features = (torch.stack(part).mean(dim=0) for part in zip(*paths, strict=True))
    return Attribution(
        signal=signal[reading.place], features=features, difference=difference, error=error
    )


def _paths(
    network: nn.Module,
    reading: Reading,
    baselines: list[Baseline],
    target: int,
    only: bool,
    steps: int,
) -> list[Baseline]:
    """The attributions along the path from each baseline: its mean gradient times the way.

    The mean is over `steps` points by Gauss and Legendre's rule. The network reads points of
    several paths at once.
    """
    starts, numbers = (torch.stack(part) for part in zip(*baselines, strict=True))
    way = reading.signal - starts, reading.features - numbers
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    points = torch.from_numpy((nodes + 1) / 2).float().repeat(len(baselines))
    shares = torch.from_numpy(weights / 2).repeat(len(baselines))
    path = torch.arange(len(baselines)).repeat_interleave(steps)
    means = [torch.zeros_like(part, dtype=torch.float64) for part in way]
    for some in slices(len(points), reading):
        of, at = path[some], points[some]
        signals = (starts[of] + at[:, None, None, None] * way[0][of]).requires_grad_()
        features = (numbers[of] + at[:, None, None] * way[1][of]).requires_grad_()
        scores = log_odds(network, reading, signals, features, target, only)
        score = (scores * shares[some]).sum()
        gradients = torch.autograd.grad(score, (signals, features), allow_unused=True)
        for mean, gradient in zip(means, gradients, strict=True):
            if gradient is not None:
                mean.index_add_(0, of, gradient.double())
    signal, feature = (mean * part.double() for mean, part in zip(means, way, strict=True))
    return list(zip(signal, feature, strict=True))


def occlusion(
    network: nn.Module,
    reading: Reading,
    baseline: Tensor,
    groups: list[list[int]],
    window: int,
    target: int,
    only: bool,
) -> Attribution:
    """How much the log-odds fall when a window of one lead has the baseline's samples instead.

    Source: Zeiler & Fergus 2014, arXiv:1311.2901. Windows of `window` samples start at every half
    window; the fall of each is spread evenly over its samples, and a sample has the mean over the
    windows that cover it. `groups` are the input's leads that are one recorded lead and change
    together. `baseline` is (place, lead, sample). Features are occluded one by one, of the example
    alone. What one window takes away another may hold too, so the sum has no meaning (`error`).
    """
    samples, place = reading.signal.shape[-1], reading.place
    starts = list(range(0, max(samples - window, 0) + 1, max(window // 2, 1)))
    if samples and starts[-1] + window < samples:
        starts.append(samples - window)
    cells = [(group, start) for group in groups for start in starts] if samples else []
    n_features = reading.features.shape[1]
    total = len(cells) + n_features
    signal = torch.zeros(reading.signal.shape[1:], dtype=torch.float64)
    covered = torch.zeros_like(signal)
    features = torch.zeros_like(reading.features, dtype=torch.float64)
    with torch.no_grad():
        whole, nothing = (
            log_odds(network, reading, s[None], f[None], target, only).item()
            for s, f in (
                (reading.signal, reading.features),
                (baseline, torch.zeros_like(reading.features)),
            )
        )
        for some in slices(total, reading):
            variants = range(total)[some]
            signals = reading.signal.repeat(len(variants), 1, 1, 1)
            numbers = reading.features.repeat(len(variants), 1, 1)
            for row, variant in enumerate(variants):
                if variant < len(cells):
                    group, start = cells[variant]
                    part = slice(start, start + window)
                    signals[row, place, group, part] = baseline[place][group, part]
                else:
                    numbers[row, place, variant - len(cells)] = 0.0
            falls = whole - log_odds(network, reading, signals, numbers, target, only)
            for fall, variant in zip(falls, variants, strict=True):
                if variant < len(cells):
                    group, start = cells[variant]
                    part = slice(start, start + window)
                    signal[group, part] += fall / (window * len(group))
                    covered[group, part] += 1
                else:
                    features[place, variant - len(cells)] = fall
    signal = signal / covered.clamp(min=1)
    difference = whole - nothing
    error = difference - (signal.sum() + features.sum()).item()
    return Attribution(signal=signal, features=features, difference=difference, error=error)


def has_time_weights(network: nn.Module) -> bool:
    """Whether the network weighs the moments of a recording itself, by TemporalSE."""
    return any(isinstance(m, TemporalSE) and m.score is not None for m in network.modules())


def time_weights(network: nn.Module, reading: Reading) -> Tensor:
    """TemporalSE's own weight of each sample, the mean over its layers: (sample,), sum 1.

    They say at which moments the network looked, whatever the class and the lead. Deeper layers
    have read the whole recording at every moment, so a weight is not the moment's own effect.
    """
    seen: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, TemporalSE)
        seen.append(module.attention(inputs[0])[reading.place].double())

    hooks = [
        module.register_forward_pre_hook(keep)
        for module in network.modules()
        if isinstance(module, TemporalSE) and module.score is not None
    ]
    try:
        with torch.no_grad():
            network(reading.signal, reading.lead_mask, reading.features)
    finally:
        for hook in hooks:
            hook.remove()
    steps = torch.stack(seen).mean(dim=0)
    samples = reading.signal.shape[-1]
    step = torch.arange(samples) * len(steps) // samples
    weights = steps[step]
    return weights / weights.sum()
