"""Saved models for tests: weights, and the file beside them as a run's report writes it."""

import json

import torch

from fl.ecg.tasks import TASKS
from fl.models import build_network
from fl.training.saved_weights import FORMAT
from fl.training.state_dict import get_weights, save_weights
from fl.util.file_digest import file_digest


def save_model(folder, model, task, seed=11, **facts):
    """`folder/weights/fedavg-best.safetensors` of fresh weights, and its sidecar."""
    torch.manual_seed(seed)
    path = folder / "weights" / "fedavg-best.safetensors"
    weights = get_weights(build_network(model, TASKS[task]))
    save_weights(path, weights, {"model": model, "task": task, "strategy": "fedavg"})
    describe(path, model=model, task=task, **facts)
    return path


def describe(path, model, task, **facts):
    """The file beside the weights."""
    content = {
        "format": FORMAT,
        "sha256": file_digest(path),
        "task": task,
        "model": model,
        "strategy": "fedavg",
        "classes": list(TASKS[task].classes),
        "decision": {},
        "synthetic": True,
        **facts,
    }
    path.with_name("fedavg.json").write_text(json.dumps(content))
