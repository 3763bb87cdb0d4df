"""A run's weights on disk and the file beside them that describes them, checked before use."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

import fl
from fl.ecg.tasks import TASKS
from fl.models import MODELS, build_network
from fl.models.mixture import MIXED, own_network
from fl.util.errors import ConfigError
from fl.util.file_digest import file_digest

FORMAT = 3
NEEDED = ("format", "sha256", "task", "model", "strategy", "classes", "decision", "synthetic")
LICENCE = "Apache-2.0; the recordings it was trained on have licences of their own"
NETWORK = "network"  # the usual kind of a saved model: one network of MODELS
MIXTURE = "mixture"  # MIXED of them, with their shares
# How each kind of saved model is made, from the facts beside its weights; its state dict is the
# content of the file of weights.
KINDS: dict[str, Callable[[Mapping[str, Any]], nn.Module]] = {
    NETWORK: lambda facts: build_network(facts["model"], TASKS[facts["task"]]),
    MIXTURE: lambda facts: own_network(facts["model"], TASKS[facts["task"]], MIXED),
}


def saved_network(facts: Mapping[str, Any]) -> nn.Module:
    """The module that the facts beside a file of weights describe, with fresh weights."""
    return KINDS[facts.get("kind", NETWORK)](facts)


def own_model_name(strategy: str, site: str) -> str:
    """The name of a site's own model of a strategy, and of its files without their endings."""
    return f"{strategy}-{site}"


def weights_facts(
    path: Path,
    *,
    task: str,
    model: str,
    strategy: str,
    decision: dict[str, Any],
    best_round: int | None,
    synthetic: bool,
    simulated_rare: int = 0,
    heartfed: str = fl.__version__,
    transfer: dict[str, Any] | None = None,
    averaged: int | None = None,
    sources: Iterable[str] = (),
) -> dict[str, Any]:
    """The content of the file beside weights: what prediction needs besides them.

    `strategy` is the name under which they are reported, `decision` the rule as JSON, `transfer`
    the saved model that training started from, if any, `averaged` the rounds whose mean they are,
    `sources` those that trained it.
    """
    asked = TASKS[task]
    return {
        "format": FORMAT,
        "weights": path.name,
        "sha256": file_digest(path),
        "task": task,
        "model": model,
        "strategy": strategy,
        "classes": list(asked.classes),
        "decision": decision,
        "leads": asked.leads,
        "samples": asked.samples,
        "fs": asked.fs,
        "best_round": best_round,
        **({"averaged": averaged} if averaged else {}),
        "synthetic": synthetic,
        "sources": sorted(set(sources)),
        **({"transfer": transfer} if transfer else {}),
        "simulated_rare": simulated_rare,
        "heartfed": heartfed,
        "licence": LICENCE,
    }


def trained_sources(facts: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """The sources that trained a saved model, by the file beside it, and those of models before it.

    No name where the file, of an earlier version, does not say.
    """
    before = facts.get("transfer")
    known = before if isinstance(before, dict) else {}
    earlier = _names(known.get("sources")) | _names(known.get("earlier_sources"))
    return _names(facts.get("sources")), earlier


def _names(found: object) -> set[str]:
    """The names in what a file says, which may be anything."""
    return {str(name) for name in found} if isinstance(found, dict | list | tuple) else set()


def sidecar_of(path: Path) -> Path:
    """The file beside the weights: `fedavg.json` of `fedavg-best.safetensors`."""
    return path.with_name(path.name.removesuffix(".safetensors").removesuffix("-best") + ".json")


def saved_facts(path: Path, flag: str) -> dict[str, Any]:
    """The content of the file beside the weights; `flag` is where a person named them.

    Raises ConfigError unless it is complete and agrees with this version and with the header of
    the weights file.
    """
    header = _header(path, flag)
    sidecar = sidecar_of(path)
    try:
        facts = json.loads(sidecar.read_text(encoding="utf-8"))
    except OSError:
        raise ConfigError(
            f"{flag} {path}: {sidecar.name}, which describes the model, is not beside it. "
            "Write it again from the run directory: python -m fl.reports RUN"
        ) from None
    except ValueError:
        raise ConfigError(
            f"{flag} {path}: {sidecar.name} is not valid JSON. Write it again from the run "
            "directory: python -m fl.reports RUN"
        ) from None
    missing = [key for key in NEEDED if not isinstance(facts, dict) or key not in facts]
    if missing or facts["format"] != FORMAT:
        problem = f"lacks {missing[0]!r}" if missing else f"has format {facts['format']!r}"
        raise ConfigError(
            f"{flag} {path}: {sidecar.name} {problem}; format {FORMAT} is read. Use the version "
            "of HeartFed that wrote it."
        )
    for key, table in (("task", TASKS), ("model", MODELS)):
        if facts[key] not in table:
            known = ", ".join(table)
            raise ConfigError(
                f"{flag} {path}: {sidecar.name} has the {key} {facts[key]!r}. Known: {known}."
            )
        if header.get(key, facts[key]) != facts[key]:
            raise ConfigError(
                f"{flag} {path}: the weights are of the {key} {header[key]!r}, but "
                f"{sidecar.name} says {facts[key]!r}. Keep each model with its own file."
            )
    if facts.get("kind", NETWORK) not in KINDS:
        raise ConfigError(
            f"{flag} {path}: {sidecar.name} has the kind {facts['kind']!r}. Known: "
            f"{', '.join(KINDS)}. Use the version of HeartFed that wrote it."
        )
    if tuple(facts["classes"]) != TASKS[facts["task"]].classes:
        raise ConfigError(
            f"{flag} {path}: its classes are not those of this version. Use the version of "
            "HeartFed that wrote it."
        )
    return dict(facts)


def _header(path: Path, flag: str) -> dict[str, str]:
    """The facts in the header of the weights file."""
    if not path.is_file():
        raise ConfigError(
            f"{flag} {path}: no such file. Name one of a run's weights, e.g. "
            "runs/NAME/weights/fedavg-best.safetensors."
        )
    try:
        with safe_open(path, framework="np") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError):
        raise ConfigError(
            f"{flag} {path}: is not a safetensors file. Name one of a run's weights."
        ) from None


def check_digest(path: Path, facts: dict[str, Any], flag: str) -> None:
    """`ConfigError` unless the weights are those that the file beside them describes."""
    if file_digest(path) != facts["sha256"]:
        raise ConfigError(
            f"{flag} {path}: its SHA-256 is not the one in {sidecar_of(path).name}, so that "
            "file and its thresholds belong to another model. Keep each model with its own file."
        )
