"""Small untrained models for the web application, and recordings in the forms that people have."""

import io
from pathlib import Path

import numpy as np
from support.made_ecg import heartbeats
from support.saved_models import save_model

from fl.predict.saved_model import load_model
from heartfed.web.settings import ServedModel, Settings

HALF = {name: 0.5 for name in ("NSR", "AF", "IAVB", "LBBB", "RBBB", "PAC", "PVC", "STD", "STE")}
RHYTHM = {"thresholds": {"pooled": HALF}, "calibration": {"pooled": {}}}


def served(folder: Path, name: str, network: str, task: str, **facts) -> ServedModel:
    path = save_model(folder / name, network, task, **facts)
    return ServedModel(name=name, path=path, model=load_model(path))
