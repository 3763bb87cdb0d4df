"""Before the first run on a GPU: ten training steps there and on the CPU, compared.

A GPU adds in another order and rounds more coarsely, so that the two differ a little. A driver or a
build of torch that does not fit the GPU can give quite other numbers without an error.
"""

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from fl.config.run_config import RunConfig
from fl.data.cohort import Cohort
from fl.data.example_cache import default_cache_dir
from fl.training.frozen import network_to_train
from fl.training.loop import TrainingPlan, fit
from fl.training.state_dict import Weights, fresh_weights, get_weights, set_weights
from fl.util.atomic_io import write_atomically
from fl.util.errors import ConfigError

STEPS, BATCH, RATE = 10, 8, 0.01
MOST = 0.5  # of the CPU's loss, or of the length of its change of the weights
KEPT = "device-check.json"  # in the cache: what was found, by GPU, build of torch and network


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far ten steps on another device are from the CPU's."""

    loss: float  # of the summed loss, relative to the CPU's
    update: float  # of the change of all weights, relative to the length of the CPU's

    @property
    def acceptable(self) -> bool:
        """Whether the device computes the same, up to rounding. NaN is not."""
        return self.loss <= MOST and self.update <= MOST

    def text(self, device: str) -> str:
        """One line for the console."""
        return (
            f"Self-check of the GPU: {STEPS} training steps on {device} differ from the CPU's by "
            f"{self.loss:.2%} of the loss and {self.update:.2%} of the change of the weights."
        )


def check_gpu(config: RunConfig, cohort: Cohort, cache: Path | None) -> str:
    """The line to be shown, "" where this GPU was checked with this network before.

    `cohort` are training records. `ConfigError` where the GPU's numbers are others than the CPU's.
    """
    path = (cache or default_cache_dir()) / KEPT
    device = torch.cuda.get_device_name()
    key = f"{device}, torch {torch.__version__}, {config.model}, {config.task}"
    known = _known(path)
    if key in known:
        return ""
    found = compare_with_cpu(config, cohort, config.device)
    line = found.text(device)
    if not found.acceptable:
        raise ConfigError(
            f"--device cuda: {line} At most {MOST:.0%} is rounding. Its driver or this build of "
            "torch does not fit the GPU: install another, or use --device cpu."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps({**known, key: vars(found)}, indent=1) + "\n").encode())
    return line


def compare_with_cpu(config: RunConfig, cohort: Cohort, device: str) -> Difference:
    """Plain gradient steps in float32 on the first records, without dropout or augmentation."""
    few = cohort.take(np.arange(min(len(cohort), 2 * BATCH)))
    batches = math.ceil(len(few) / BATCH)
    plan = TrainingPlan(
        seed=config.seed,
        site="device-check",
        round=1,
        rounds=1,
        epochs=math.ceil(STEPS / batches),
        batch_size=BATCH,
        lr=RATE,
        weight_decay=0.0,
        dropout=0.0,
        signal_dropout=0.0,
        sgd=True,
        constant=True,
        bf16=False,
    )
    start = fresh_weights(config)
    (expected, loss), (found, other) = (
        _trained(config, few, start, replace(plan, device=kind)) for kind in ("cpu", device)
    )
    change, off = (
        math.sqrt(sum(float(np.square(a[n] - b[n], dtype=np.float64).sum()) for n in start))
        for a, b in ((expected, start), (found, expected))
    )
    return Difference(loss=abs(other - loss) / max(abs(loss), 1e-9), update=off / max(change, 1e-9))


def _trained(
    config: RunConfig, cohort: Cohort, start: Weights, plan: TrainingPlan
) -> tuple[Weights, float]:
    network = network_to_train(config.model, config.task, "none")
    set_weights(network, start)
    fitted = fit(network, cohort, plan)
    return get_weights(network), fitted.loss_sum


def _known(path: Path) -> Mapping[str, object]:
    """What earlier checks found; nothing where the file is not there or is none of ours."""
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}
