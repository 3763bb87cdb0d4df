"""A trained model that can be applied: its weights, and the file beside them that describes it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from fl.ecg.tasks import TASKS, Task
from fl.evaluation.decisions.decision_rule import DecisionRule
from fl.models import MODELS, build_network
from fl.training.state_dict import load_weights, set_weights
from fl.util.errors import ConfigError, DataError
from fl.util.file_digest import file_digest

FORMAT = 3
NEEDED = ("format", "sha256", "task", "model", "strategy", "classes", "decision", "synthetic")


@dataclass(frozen=True, kw_only=True)
class SavedModel:
    """A network with its weights, its task and how it decides."""

    task: Task
    network: nn.Module
    name: str  # network, a name of MODELS
    strategy: str  # how it was trained
    rule: DecisionRule  # calibration and thresholds
    synthetic: bool  # trained on synthetic recordings
    simulated_rare: int = 0  # simulated recordings at each site, beside real ones

    def require_source(self, source: str) -> None:
        """`ConfigError` unless the model has thresholds for the recordings of this source."""
        if source not in self.rule.thresholds:
            raise ConfigError(
                f"--source is {source!r}. The model has thresholds for: "
                f"{', '.join(sorted(self.rule.thresholds))}."
            )


def load_model(path: Path, task: str = "") -> SavedModel:
    """The model in a weights file; `ConfigError` says in one line why it cannot be used.

    `task` is the task that the caller needs; "" accepts any.
    """
    facts = _facts(path)
    if task and facts["task"] != task:
        raise ConfigError(
            f"--weights {path}: the model is for the task {facts['task']!r}, not {task!r}. Name "
            "weights of that task, or leave --task out."
        )
    _check_sum(path, facts)
    network = build_network(facts["model"], TASKS[facts["task"]])
    try:
        set_weights(network, load_weights(path))
    except (RuntimeError, SafetensorError):
        raise ConfigError(
            f"--weights {path}: the weights do not fit the network {facts['model']!r} of the task "
            f"{facts['task']!r}. Use the version of HeartFed that wrote them."
        ) from None
    return SavedModel(
        task=TASKS[facts["task"]],
        network=network,
        name=facts["model"],
        strategy=facts["strategy"],
        rule=_rule(path, facts["decision"]),
        synthetic=facts["synthetic"],
        simulated_rare=int(facts.get("simulated_rare", 0)),
    )


def _rule(path: Path, content: object) -> DecisionRule:
    try:
        return DecisionRule.from_json(content, f"{sidecar_of(path).name}: decision")
    except DataError as error:
        raise ConfigError(
            f"--weights {path}: {error} Write it again from the run directory: "
            "python -m fl.reports RUN"
        ) from None


def sidecar_of(path: Path) -> Path:
    """The file beside the weights: `fedavg.json` of `fedavg-best.safetensors`."""
    return path.with_name(path.name.removesuffix(".safetensors").removesuffix("-best") + ".json")


def _facts(path: Path) -> dict[str, Any]:
    """The content of the file beside the weights.

    Raises ConfigError unless it is complete and agrees with this version and with the header of
    the weights file.
    """
    header = _header(path)
    sidecar = sidecar_of(path)
    try:
        facts = json.loads(sidecar.read_text(encoding="utf-8"))
    except OSError:
        raise ConfigError(
            f"--weights {path}: {sidecar.name}, which describes the model, is not beside it. "
            "Write it again from the run directory: python -m fl.reports RUN"
        ) from None
    except ValueError:
        raise ConfigError(
            f"--weights {path}: {sidecar.name} is not valid JSON. Write it again from the run "
            "directory: python -m fl.reports RUN"
        ) from None
    missing = [key for key in NEEDED if not isinstance(facts, dict) or key not in facts]
    if missing or facts["format"] != FORMAT:
        problem = f"lacks {missing[0]!r}" if missing else f"has format {facts['format']!r}"
        raise ConfigError(
            f"--weights {path}: {sidecar.name} {problem}; format {FORMAT} is read. Use the version "
            "of HeartFed that wrote it."
        )
    for key, table in (("task", TASKS), ("model", MODELS)):
        if facts[key] not in table:
            known = ", ".join(table)
            raise ConfigError(
                f"--weights {path}: {sidecar.name} has the {key} {facts[key]!r}. Known: {known}."
            )
        if header.get(key, facts[key]) != facts[key]:
            raise ConfigError(
                f"--weights {path}: the weights are of the {key} {header[key]!r}, but "
                f"{sidecar.name} says {facts[key]!r}. Keep each model with its own file."
            )
    if tuple(facts["classes"]) != TASKS[facts["task"]].classes:
        raise ConfigError(
            f"--weights {path}: its classes are not those of this version. Use the version of "
            "HeartFed that wrote it."
        )
    return dict(facts)


def _header(path: Path) -> dict[str, str]:
    """The facts in the header of the weights file."""
    if not path.is_file():
        raise ConfigError(
            f"--weights {path}: no such file. Name one of a run's weights, e.g. "
            "runs/NAME/weights/fedavg-best.safetensors."
        )
    try:
        with safe_open(path, framework="np") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError):
        raise ConfigError(
            f"--weights {path}: is not a safetensors file. Name one of a run's weights."
        ) from None


def _check_sum(path: Path, facts: dict[str, Any]) -> None:
    if file_digest(path) != facts["sha256"]:
        raise ConfigError(
            f"--weights {path}: its SHA-256 is not the one in {sidecar_of(path).name}, so that "
            "file and its thresholds belong to another model. Keep each model with its own file."
        )
