"""A run's weights on disk and the file beside them that describes them, checked before use."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from fl.ecg.tasks import TASKS
from fl.models import MODELS
from fl.util.errors import ConfigError
from fl.util.file_digest import file_digest

FORMAT = 3
NEEDED = ("format", "sha256", "task", "model", "strategy", "classes", "decision", "synthetic")


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
