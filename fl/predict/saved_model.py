"""A trained model that can be applied: its weights, and the file beside them that describes it."""

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from torch import nn

from fl.ecg.tasks import TASKS, Task
from fl.evaluation.decisions.decision_rule import DecisionRule
from fl.training.saved_weights import check_digest, saved_facts, saved_network, sidecar_of
from fl.training.state_dict import load_weights, set_weights
from fl.util.errors import ConfigError, DataError

FLAG = "--weights"  # by which a model is named


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
    facts = saved_facts(path, FLAG)
    if task and facts["task"] != task:
        raise ConfigError(
            f"--weights {path}: the model is for the task {facts['task']!r}, not {task!r}. Name "
            "weights of that task, or leave --task out."
        )
    check_digest(path, facts, FLAG)
    network = saved_network(facts)
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
