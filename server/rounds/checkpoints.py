"""How far a training is, kept on disk after every round, whole or not at all."""

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from fl.evaluation.decisions.decision_rule import DecisionRule
from fl.messages.job import Job
from fl.runs.history_tables import RoundRow, SiteRow
from fl.training.state_dict import Weights, load_weights, save_weights
from fl.util.errors import FederationError
from fl.util.json_record import JsonRecord

KEPT = 2  # checkpoints of a training
_ARRAYS = {  # fields of TrainingProgress that hold arrays, and the file of each
    "weights": "last.safetensors",
    "best_weights": "best.safetensors",
    "memory": "memory.safetensors",
    "extra": "extra.safetensors",
    "recent": "recent.safetensors",
}


@dataclass(kw_only=True)
class TrainingProgress:
    """Everything the round loop needs to go on from the end of a round."""

    weights: Weights
    best_weights: Weights
    memory: Weights = field(default_factory=dict)  # what Flower's strategy object remembers
    memory_saved: bool = True  # `memory` holds all of it: see flower_internals
    extra: Weights = field(default_factory=dict)  # what the strategy sends beside the weights
    recent: Weights = field(default_factory=dict)  # of the last rounds: see weight_averaging
    round: int = 0  # merged rounds
    # Of the last merged round, until its weights are validated: that part of its row.
    unvalidated: dict[str, Any] = field(default_factory=dict)
    best_round: int = 0
    averaged: int = 0  # the best weights are the mean of so many rounds up to that one; 0: no mean
    best_by: str = ""  # the measure it was chosen by: a name of `round_selection.CRITERIA`
    best_score: float = 0.0  # by that measure; see `round_selection.selection_score`
    rule: DecisionRule | None = None  # how the best round's weights decide
    steps: int = 0  # gradient steps of all sites so far
    n_seen: dict[str, int] = field(default_factory=dict)  # site -> examples of its last training
    round_rows: list[RoundRow] = field(default_factory=list)
    site_rows: list[SiteRow] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)  # round, site, reason

    @property
    def chosen_rule(self) -> DecisionRule:
        """How the best round decides; there is none before a round has been validated."""
        if self.rule is None:
            raise ValueError("no round has been validated: there is no decision rule yet")
        return self.rule

    @property
    def validated_rounds(self) -> int:
        """Rounds that are merged and validated."""
        return self.round - bool(self.unvalidated)


def save_progress(folder: Path, progress: TrainingProgress) -> None:
    """Write `folder/000007/` once round 7 is merged, `000007-validated/` once it is validated."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".new-"))
    try:
        for name, file in _ARRAYS.items():
            save_weights(temporary / file, getattr(progress, name))
        state = {k: v for k, v in vars(progress).items() if k not in _ARRAYS}
        order = {name: list(getattr(progress, name)) for name in _ARRAYS}
        text = json.dumps({"state": state, "order": order}, default=_plain)
        (temporary / "state.json").write_text(text)
        stage = "" if progress.unvalidated else "-validated"
        temporary.rename(folder / f"{progress.round:06d}{stage}")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in sorted(folder.glob("[0-9]*"))[:-KEPT]:
        shutil.rmtree(old)


def _plain(record: Any) -> dict[str, Any]:
    """A record of the state as `json.dumps` takes it."""
    # A line of a table has plain fields; `asdict` would copy each, of all rounds in every round.
    return record.to_json() if isinstance(record, JsonRecord) else vars(record)


def load_progress(folder: Path) -> TrainingProgress | None:
    """The last checkpoint, or None if there is none; `FederationError` if it cannot be read."""
    checkpoints = sorted(folder.glob("[0-9]*"))
    if not checkpoints:
        return None
    try:
        return _read(checkpoints[-1])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise FederationError(
            f"{checkpoints[-1]} is not a checkpoint that this version of HeartFed reads ({error}). "
            "Continue with the version that began the run, or start the run again."
        ) from error


def _read(folder: Path) -> TrainingProgress:
    saved = json.loads((folder / "state.json").read_text())
    state = saved["state"]
    state["round_rows"] = [RoundRow(**row) for row in state["round_rows"]]
    state["site_rows"] = [SiteRow(**row) for row in state["site_rows"]]
    state["rule"] = DecisionRule(**state["rule"]) if state["rule"] else None
    arrays: dict[str, Any] = {}
    for name, file in _ARRAYS.items():
        unordered = load_weights(folder / file)
        # A file has its own order, but FedAvgM matches what was sent and merged by position.
        arrays[name] = {entry: unordered[entry] for entry in saved["order"][name]}
    return TrainingProgress(**arrays, **state)


def save_trained(
    folder: Path,
    job: Job,
    name: str,
    progress: TrainingProgress,
    kinds: Sequence[str] = ("best", "last"),
) -> None:
    """Write the weights that a training ends with: `weights/<name>-<kind>.safetensors`."""
    facts = {"model": job.config.model, "task": job.config.task, "strategy": job.strategy}
    trained = {"best": progress.best_weights, "last": progress.weights}
    for kind in kinds:
        save_weights(folder / "weights" / f"{name}-{kind}.safetensors", trained[kind], facts)
