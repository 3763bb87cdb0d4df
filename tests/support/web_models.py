"""Small untrained models for the web application, and recordings as people have them."""

from pathlib import Path

import numpy as np

from fl.ecg.tasks import TASKS
from fl.predict.saved_model import load_model
from heartfed.web.settings import ServedModel
from support.made_ecg import heartbeats
from support.rules import even_rule
from support.saved_models import save_model


def served(folder: Path, network: str, task: str, threshold: float = 0.5) -> ServedModel:
    """An untrained model, which is named by its network and task."""
    asked, name = TASKS[task], f"{task}-{network}"
    rule = even_rule(asked.classes, threshold, asked.alone, asked.otherwise)
    path = save_model(folder / name, network, task, decision=rule.to_json())
    return ServedModel(name=name, path=path, model=load_model(path))


def made_signal(seconds: float = 10.0, fs: float = 250.0, leads: int = 2) -> np.ndarray:
    """Heartbeats at 75 per minute: (lead, sample) mV."""
    beat = heartbeats(75.0, seconds, fs)[0]
    return np.stack([beat * (1 - 0.1 * i) for i in range(leads)])


def table(
    signal: np.ndarray,
    header: str = "I,II",
    *,
    separator: str = ",",
    decimal: str = ".",
    scale: float = 1.0,
    fs: float | None = 250.0,
    time: str = "time [s]",
) -> bytes:
    """A CSV file of a signal (lead, sample); with a column of times if `fs` is given."""
    lines = [header.replace(",", separator)] if header else []
    if fs is not None and header:
        lines = [f"{time}{separator}{lines[0]}"]
    for number, values in enumerate(signal.T):
        cells = [] if fs is None else [f"{number / fs:.4f}"]
        cells += [f"{value * scale:.5f}" for value in values]
        lines.append(separator.join(cells).replace(".", decimal))
    return "\n".join(lines).encode()
