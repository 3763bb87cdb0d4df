"""Runs of `run_sim.py` that a study needs: made where they are missing, gone on with if begun."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fl.config.cli import flag_of
from fl.config.config_file import load_config
from fl.util.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
RUN_SIM = (str(ROOT / "run_sim.py"),)
Settings = Mapping[str, str]


def make_run(folder: Path, settings: Settings, program: Sequence[str] = RUN_SIM) -> None:
    """The run in this folder, made or brought to its end; `ConfigError` if it cannot be.

    `program`: words that start what takes the flags of `run_sim.py`.
    """
    path = folder / "run.json"
    known = json.loads(path.read_text()) if path.exists() else None
    if known is not None:
        _check_settings(path, known["config"], settings)
    if completed(folder):
        return
    begun = ["--resume", str(folder)]
    new = [*_flags(settings), "--out", str(folder.parent), "--name", folder.name]
    words = [sys.executable, *program, "--quiet", "--no-pages"]
    done = subprocess.run(
        [*words, *(new if known is None else begun)], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise ConfigError(last[-1] if last else f"exit code {done.returncode}")


def completed(folder: Path) -> bool:
    """Whether the run in this folder is there and over."""
    path = folder / "run.json"
    return path.exists() and bool(json.loads(path.read_text())["status"] == "completed")


def folder_of(work: Path, name: str, seed: int) -> Path:
    """The run directory of a row of a study."""
    return work / f"{name.replace(' ', '-').replace(':', '').replace(',', '')}-{seed}"


def _check_settings(path: Path, config: Mapping[str, Any], settings: Settings) -> None:
    wanted = load_config(settings).model_dump(mode="json")
    for name in settings:
        if config.get(name) != wanted[name]:
            raise ConfigError(
                f"{path}: {name} is {config.get(name)!r}, not {wanted[name]!r}. Name another "
                "--work, or delete the run."
            )


def _flags(settings: Settings) -> Sequence[str]:
    return [word for name, value in settings.items() for word in (flag_of(name), value)]
