"""The networks that gave a run's answers, to say where they looked in one of them."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import nn

from fl.config.strategy_traits import strategy_traits
from fl.data.cohort import Cohort
from fl.data.shards import shard_in_memory
from fl.ecg.beat_pictures import beat_bounds
from fl.ecg.beat_segments import annotated_beats
from fl.ecg.records import Record
from fl.ecg.rhythm.windows import WINDOW_SECONDS, annotated_in_one_window
from fl.ecg.tasks import TASKS, Task
from fl.explain.placing import placed
from fl.explain.saliency import Explanation, explain, usual_method
from fl.models import MODELS
from fl.training.saved_weights import own_model_name, saved_network, sidecar_of
from fl.training.state_dict import Weights, load_weights, save_weights, set_weights
from fl.util.errors import DataError, UnusableRecord


class RunNetworks:
    """The networks of one training of a run, from the weights in its directory.

    Those that answered for `site`; "" for records of no site.
    """

    def __init__(self, folder: Path, config: dict[str, Any], strategy: str, site: str = "") -> None:
        self.folder, self.config, self.strategy, self.site = folder, config, strategy, site
        self.task: Task = TASKS[str(config["task"])]
        self.of = lru_cache(maxsize=4)(self._of)

    def _of(self, fold: str) -> nn.Module | str:
        """The network of a fold ("" for a run without folds), or why there is none."""
        traits = strategy_traits(self.strategy)
        if traits.local_normalisation or (traits.own_models and not self.site):
            return "the run does not keep each hospital's own model"
        path = self._weights(fold)
        model = str(self.config.get("model", ""))
        if path is None:
            return "the weights are no longer in the run directory"
        if model not in MODELS:
            return f"this version has no network {model!r}"
        try:
            network = _made(path, model, self.task)
            set_weights(network, load_weights(path))
        except (RuntimeError, SafetensorError, OSError, ValueError, KeyError):
            return "the weights do not fit this version's network"
        return network

    def _weights(self, fold: str) -> Path | None:
        """The file of weights; at a hospital, those that it was last asked to test."""
        folder = self.folder / f"fold-{fold}" if fold else self.folder
        own = f"{own_model_name(self.strategy, self.site)}.safetensors"
        found = [
            # A site without such a file tested the federation's model.
            *([folder / "weights" / own] if self.site else []),
            folder / "weights" / f"{self.strategy}-best.safetensors",
            *sorted(folder.glob(f"checkpoint/sites/*/{tested_name(self.strategy)}")),
        ]
        return next((path for path in found if path.is_file()), None)

    def explain(self, record: Record, example: str, target: str, fold: str) -> Explanation | str:
        """Where the network looked in one example of a recording, or why that is not known."""
        network = self.of(fold)
        if isinstance(network, str):
            return network
        try:
            examples = self.task.make_examples(_with_one_window(record, example))
        except UnusableRecord:
            return "the recording can no longer be read as it was in the run"
        if example not in examples.names:
            return "the recording has no such example any more"
        cohort = Cohort.of(self.task, [shard_in_memory(self.task, record, examples)])
        found = explain(
            network, cohort, examples.names.index(example), target, usual_method(network)
        )
        return placed(found, self.task, record, *_extent(self.task, record, example))


def _made(path: Path, model: str, task: Task) -> nn.Module:
    """The module of a file of weights; beside a hospital's own model stands what kind it is."""
    facts: dict[str, Any] = {"model": model, "task": task.name}
    sidecar = sidecar_of(path)
    return saved_network(json.loads(sidecar.read_text()) if sidecar.is_file() else facts)


def _with_one_window(record: Record, example: str) -> Record:
    """The recording so that no other window of it is an example, where this one is a window.

    Half an hour has 180, and the features of each take as long as those of a whole recording.
    """
    begin = _begin_of_window(record, example)
    if begin is None or record.labels is not None or record.annotations is None:
        return record
    return annotated_in_one_window(record, begin)


def _begin_of_window(record: Record, example: str) -> float | None:
    """Where a window of a recording begins, in s; None if the example is no window."""
    recording, _, tail = example.rpartition("/")
    return float(tail[:-1]) if recording == record.name and tail.endswith("s") else None


def _extent(task: Task, record: Record, example: str) -> tuple[float, float, float | None]:
    """Begin, end and R peak (None but for a beat) of an example in s, from its name."""
    if task.exclusive:
        peak = int(example.rpartition("/")[2])
        if not task.whole_beats:
            return peak / record.fs, peak / record.fs, peak / record.fs
        assert record.annotations is not None  # the task reads no recording without
        peaks, _ = annotated_beats(record.annotations)
        start, end = beat_bounds(record, peaks)[peaks.tolist().index(peak) - 1].tolist()
        return start / record.fs, end / record.fs, peak / record.fs
    begin = _begin_of_window(record, example)
    if begin is not None:
        return begin, begin + WINDOW_SECONDS, None
    return 0.0, record.signal.shape[1] / record.fs, None


def keep_tested(folder: Path, strategy: str, weights: Weights) -> None:
    """Keep the weights that a hospital was asked to test, in its own folder of the run."""
    save_weights(folder / tested_name(strategy), weights)


def tested_name(strategy: str) -> str:
    """The file of the weights that a hospital was last asked to test."""
    return f"tested-{strategy}.safetensors"


def network_or_error(networks: RunNetworks, fold: str) -> nn.Module:
    """The network of a fold; `DataError` says why there is none."""
    network = networks.of(fold)
    if isinstance(network, str):
        raise DataError(f"{networks.folder}: {network}. Name a run that has its weights.")
    return network
