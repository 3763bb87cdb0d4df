"""How far a training is, kept on disk after every round, whole or not at all."""

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fl.evaluation.thresholds import Thresholds
from fl.messages.job import Job
from fl.runs.history_tables import RoundRow, SiteRow
from fl.training.state_dict import Weights, load_weights, save_weights

KEPT = 2
_ARRAYS = ("weights", "best_weights", "memory", "control")
Row = dict[str, Any]


@dataclass(kw_only=True)
class TrainingProgress:
    """Everything the round loop needs to go on from the end of a round."""

    weights: Weights
    best_weights: Weights
    memory: Weights = field(default_factory=dict)  # what the strategy remembers
    control: Weights = field(default_factory=dict)  # SCAFFOLD's control variate
    round: int = 0  # merged rounds
    unvalidated: Row = field(default_factory=dict)  # of the last, until its weights are measured
    best_round: int = 0
    best_score: float = -1.0  # see `validation.score`
    thresholds: dict[str, Thresholds] | None = None  # of the best round
    steps: int = 0  # gradient steps of all sites so far
    seen: dict[str, int] = field(default_factory=dict)  # site -> examples its last visit trained on
    rounds: list[RoundRow] = field(default_factory=list)
    sites: list[SiteRow] = field(default_factory=list)
    failures: list[Row] = field(default_factory=list)  # round, site, reason

    @property
    def validated_rounds(self) -> int:
        """Rounds that are merged and measured."""
        return self.round - bool(self.unvalidated)


def save_progress(folder: Path, progress: TrainingProgress) -> None:
    """Write `folder/000007/` for round 7 as it is merged, or `000007-measured/`; keep two."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".new-"))
    try:
        save_weights(temporary / "last.safetensors", progress.weights)
        save_weights(temporary / "best.safetensors", progress.best_weights)
        save_weights(temporary / "memory.safetensors", progress.memory)
        save_weights(temporary / "control.safetensors", progress.control)
        state = {k: v for k, v in vars(progress).items() if k not in _ARRAYS}
        (temporary / "state.json").write_text(json.dumps(state, default=asdict))
        stage = "" if progress.unvalidated else "-measured"
        temporary.rename(folder / f"{progress.round:06d}{stage}")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in sorted(folder.glob("[0-9]*"))[:-KEPT]:
        shutil.rmtree(old)


def load_progress(folder: Path) -> TrainingProgress | None:
    """The last round that was kept, or None if there is none."""
    found = sorted(folder.glob("[0-9]*"))
    if not found:
        return None
    state = json.loads((found[-1] / "state.json").read_text())
    state["rounds"] = [RoundRow(**row) for row in state["rounds"]]
    state["sites"] = [SiteRow(**row) for row in state["sites"]]
    return TrainingProgress(
        weights=load_weights(found[-1] / "last.safetensors"),
        best_weights=load_weights(found[-1] / "best.safetensors"),
        memory=load_weights(found[-1] / "memory.safetensors"),
        control=load_weights(found[-1] / "control.safetensors"),
        **state,
    )


def save_trained(
    folder: Path,
    job: Job,
    name: str,
    progress: TrainingProgress,
    kinds: Sequence[str] = ("best", "last"),
) -> None:
    """Write the weights that a training ends with: `weights/<name>-<kind>.safetensors`."""
    facts = {"model": job.config.model, "task": job.config.task, "strategy": job.strategy}
    found = {"best": progress.best_weights, "last": progress.weights}
    for kind in kinds:
        save_weights(folder / "weights" / f"{name}-{kind}.safetensors", found[kind], facts)
