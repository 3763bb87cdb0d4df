"""Where a model looked: how much each moment of each lead, and each feature, speaks for a class."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fl.data.cohort import Cohort
from fl.ecg.beat_examples import BeatExampleMaker
from fl.ecg.records import LEADS
from fl.ecg.tasks import Task
from fl.explain.attribution import (
    TOLERANCE,
    Attribution,
    has_time_weights,
    integrated_gradients,
    occlusion,
    time_weights,
)
from fl.explain.baselines import gradient_baselines, replacement
from fl.explain.reading import Reading, readings
from fl.training.device import one_thread
from fl.util.errors import ConfigError

Method = Literal["gradients", "occlusion", "attention"]
METHODS: tuple[str, ...] = get_args(Method)
IN_WORDS = {
    "gradients": "integrated gradients",
    "occlusion": "occlusion",
    "attention": "the network's own time weights (TemporalSE), the same for every class and lead",
}
SMOOTHING = 0.06  # s over which the figures and shares sum contributions
RHYTHM_WINDOW, BEAT_WINDOW = 0.2, 0.05  # s that occlusion takes away at a time
DECIMALS = 6


@dataclass(frozen=True, kw_only=True)
class FeatureContribution:
    """How much one feature of a beat raises a class's log-odds (lowers, if negative)."""

    name: str
    value: float  # standardised: 0 is usual, 1 is one usual spread above it
    contribution: float


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Which parts of one example speak for a class, and which against it.

    For gradients and occlusion a contribution is in units of the class's log-odds, positive where
    the signal speaks for the class. For attention it is a share of the network's time weights,
    neither for nor against any class.
    """

    method: str
    target: str  # the class
    leads: tuple[str, ...]  # recorded leads, in the order of the rows of `signal`
    fs: float  # Hz of the samples of `signal`
    signal: NDArray[np.float64]  # (lead, sample); (0, 0) where the network reads no signal
    features: tuple[FeatureContribution, ...]  # the largest first; () where none are read
    neighbours: float  # sum over the features of the other beats that are read with this one
    difference: float  # log-odds of the class minus those of the baseline
    error: float  # what the sum of all contributions lacks of the difference (gradients: about 0)
    crops: int  # of the example that were read; contributions are their mean
    begins: float = 0.0  # s of the recording at the first sample of `signal`: see `placed`

    @property
    def complete(self) -> bool:
        """Whether the contributions sum to the difference, as those of gradients should."""
        return abs(self.error) <= TOLERANCE[0] + TOLERANCE[1] * abs(self.difference)

    @property
    def smoothed(self) -> NDArray[np.float64]:
        """`signal` as the mean over SMOOTHING around each sample: (lead, sample)."""
        width = max(1, round(SMOOTHING * self.fs))
        if width == 1 or not self.signal.size:
            return self.signal
        kernel = np.ones(width) / width
        return np.stack([np.convolve(row, kernel, mode="same") for row in self.signal])

    def to_json(self) -> dict[str, Any]:
        """A JSON object with all contributions, rounded to six decimals."""
        found = asdict(self)
        found["signal"] = np.round(self.signal, DECIMALS).tolist()
        for name in ("difference", "error", "neighbours", "begins"):
            found[name] = round(found[name], DECIMALS)
        for row in found["features"]:
            row |= {k: round(row[k], DECIMALS) for k in ("value", "contribution")}
        return found


def explain(
    network: nn.Module,
    cohort: Cohort,
    example: int,
    target: str,
    method: str,
    crops: int = 0,
) -> Explanation:
    """Where the network looked in one example of a cohort, for one class of its task.

    Every crop that a prediction reads (at most `crops`; 0: as many as the task reads) is explained,
    and each sample has the mean over the crops.
    The network is left in evaluation mode, on the CPU. Raises ConfigError for a class that the
    task does not have and for a method that the network does not allow.
    """
    task = cohort.task
    check_question(network, task, target, method)
    one_thread()
    network.to("cpu").eval()
    found = readings(network, cohort, example, crops or cohort.task.crops)
    groups = recorded_leads(task, found[0])
    parts = [_attribution(network, task, reading, target, method, groups) for reading in found]
    length = int(cohort.lengths[example]) if parts[0].signal.numel() else 0
    signal = np.zeros((len(groups) if length else 0, length))
    for reading, part in zip(found, parts, strict=True):
        at = (reading.start + np.arange(part.signal.shape[1])) % max(length, 1)
        for row, members in enumerate(list(groups.values())[: len(signal)]):
            np.add.at(signal[row], at, part.signal[members].sum(dim=0).numpy() / len(parts))
    place = found[0].place
    features = np.mean([part.features.numpy() for part in parts], axis=0)
    return Explanation(
        method=method,
        target=target,
        leads=tuple(groups) if length else (),
        fs=task.fs,
        signal=signal,
        features=_by_size(task, found[0].features[place], features[place]),
        neighbours=float(np.delete(features, place, axis=0).sum()),
        difference=float(np.mean([part.difference for part in parts])),
        error=float(np.mean([part.error for part in parts])),
        crops=len(parts),
    )


def usual_method(network: nn.Module) -> str:
    """The method for a network that nobody has chosen one for.

    Gradients, unless the network says otherwise. One that draws its input as a picture does: a line
    that leaves a pixel has no gradient there any more, so that no number of points between baseline
    and signal is enough, and hundreds take minutes.
    """
    return str(getattr(network, "explained_by", "gradients"))


def check_question(network: nn.Module, task: Task, target: str, method: str) -> None:
    """`ConfigError` unless the task has the class and the network allows the method."""
    if target not in task.classes:
        raise ConfigError(
            f"--class is {target!r}. Classes of the {task.name} task: {', '.join(task.classes)}."
        )
    if method not in METHODS:
        raise ConfigError(f"--method is {method!r}. Accepted: {', '.join(METHODS)}.")
    if method == "attention" and not has_time_weights(network):
        raise ConfigError(
            "--method is 'attention', but the network has no time weights of its own (only "
            "reslstm_temporalse has). Use gradients or occlusion."
        )


def recorded_leads(task: Task, reading: Reading) -> dict[str, list[int]]:
    """The leads that were recorded, by name, each with the rows of the input made from it.

    The beat task's input is lead II and its difference from the patient's median beat: one lead.
    """
    if task.leads != len(LEADS):
        return {"II": list(range(task.leads))}
    present = reading.lead_mask[reading.place] > 0
    return {LEADS[row]: [row] for row in range(task.leads) if present[row]}


def has_usual_beat(task: Task) -> bool:
    """Whether the second row of the input is the difference from the patient's median beat."""
    return isinstance(task.make_examples, BeatExampleMaker) and task.leads == 2


def _attribution(
    network: nn.Module,
    task: Task,
    reading: Reading,
    target: str,
    method: str,
    groups: dict[str, list[int]],
) -> Attribution:
    number, only = task.classes.index(target), task.exclusive
    usual = has_usual_beat(task)
    if method == "gradients":
        baselines = gradient_baselines(reading, usual, task)
        return integrated_gradients(network, reading, baselines, number, only)
    if method == "occlusion":
        seconds = BEAT_WINDOW if only else RHYTHM_WINDOW
        window = max(2, round(seconds * task.fs))
        rows = list(groups.values())
        return occlusion(network, reading, replacement(reading, usual), rows, window, number, only)
    weights = time_weights(network, reading)
    signal = torch.zeros(reading.signal.shape[1:], dtype=torch.float64)
    for members in groups.values():
        signal[members] = weights / (len(groups) * len(members))
    return Attribution(
        signal=signal,
        features=torch.zeros_like(reading.features, dtype=torch.float64),
        difference=0.0,
        error=0.0,
    )


def _by_size(
    task: Task, values: Tensor, contributions: NDArray[np.float64]
) -> tuple[FeatureContribution, ...]:
    """The contribution of each feature, the largest (for or against) first."""
    order = np.argsort(-np.abs(contributions), kind="stable").tolist()
    return tuple(
        FeatureContribution(
            name=task.features[i], value=float(values[i]), contribution=float(contributions[i])
        )
        for i in order
    )


def feature_sentence(feature: FeatureContribution, target: str) -> str:
    """One feature in words: `pre/local is 2.1 units below its usual value: lowers V by 0.80`."""
    side = "above" if feature.value >= 0 else "below"
    act = "raises" if feature.contribution >= 0 else "lowers"
    return (
        f"{feature.name} is {abs(feature.value):.1f} units {side} its usual value: {act} the "
        f"log-odds of {target} by {abs(feature.contribution):.2f}"
    )
