"""The run directory and its run.json: made for a new run, found again for a resumed one."""

import json
import os
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import fl
from fl.config.run_config import RunConfig, checked
from fl.data.shards import Shard
from fl.ecg.labels import shows_none
from fl.util.atomic_io import write_atomically
from fl.util.errors import ConfigError
from fl.util.private_files import FOLDER

PACKAGES = ("flwr", "ray", "torch", "numpy", "scipy", "scikit-learn", "wfdb")

# A resumed run may change these: they decide where and how fast it runs, not its results.
CHANGEABLE_ON_RESUME = frozenset({"data_dir", "engine", "ray_address", "workers", "timeout"})


def make_run_folder(out: Path, name: str) -> Path:
    """A new run directory; `ConfigError` if it cannot be made or is already there.

    Without a name it is the date and time, with a number if a run began in the same second.
    """
    began = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    numbered = (f"{began}-{n}" for n in range(2, 1000))
    for candidate in (name,) if name else (began, *numbered):
        folder = out / candidate
        try:
            folder.mkdir(parents=True, mode=FOLDER)
        except FileExistsError:
            if not folder.is_dir():
                raise ConfigError(f"--out: {out} is a file. Name a folder.") from None
        except OSError as error:
            raise ConfigError(
                f"--out: {folder} cannot be made ({error.strerror}). Name a folder you may write "
                "to."
            ) from None
        else:
            return folder
    raise ConfigError(
        f"--name: {folder} is already there. Choose another name, or go on with it: "
        f"--resume {folder}"
    )


class RunRecord:
    """run.json, written again as a whole at every step of the run."""

    def __init__(self, folder: Path, content: dict[str, Any]) -> None:
        self.folder, self.content = folder, content

    @classmethod
    def new(cls, folder: Path, config: RunConfig, synthetic: tuple[str, ...]) -> "RunRecord":
        """The record of a run that begins."""
        content = {
            "status": "running",
            "heartfed": fl.__version__,
            "command": sys.argv,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "config": config.model_dump(),
            "seed": config.seed,
            "engine": config.engine,
            "synthetic": list(synthetic),
            "versions": {"python": platform.python_version()}
            | {package: version(package) for package in PACKAGES},
            "machine": {"system": platform.platform(), "cores": os.cpu_count()},
            "seconds": {},
            "failures": [],
            "resumed": [],
        }
        record = cls(folder, content)
        record.update()
        return record

    @classmethod
    def read(cls, folder: Path) -> "RunRecord":
        """The record of a run that stopped; `ConfigError` if there is none."""
        try:
            content = json.loads((folder / "run.json").read_text())
            if not isinstance(content["config"], dict):
                raise TypeError("no configuration in it")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"--resume: {folder} is no run directory (run.json: {error}). Name the folder "
                "that the run wrote, e.g. runs/20260101-120000."
            ) from None
        return cls(folder, content)

    def update(self, **facts: Any) -> None:
        """Add facts and write."""
        self.content |= facts
        write_atomically(self.folder / "run.json", json.dumps(self.content, indent=1).encode())

    def record_resumption(self) -> None:
        """Note that the run was resumed, and when."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.content.setdefault("resumed", []).append(now)

    def config_with(self, flags: Mapping[str, Any]) -> RunConfig:
        """The run's configuration; flags may repeat it, and may change only where it runs.

        `ConfigError` names every setting that differs.
        """
        stored = checked(self.content["config"])
        asked = checked(self.content["config"] | dict(flags))
        differences = [
            f"--{name.replace('_', '-')} is {getattr(asked, name)}, the run has "
            f"{getattr(stored, name)}"
            for name in sorted(flags.keys() - CHANGEABLE_ON_RESUME)
            if getattr(asked, name) != getattr(stored, name)
        ]
        if differences:
            raise ConfigError(
                f"--resume {self.folder}: {'; '.join(differences)}. Leave these flags out, or "
                "start a new run."
            )
        return asked

    def require_same_data(self, facts: list[dict[str, Any]]) -> None:
        """`ConfigError` unless every source has the content the run began with."""
        known = {entry["source"]: entry["sha256"] for entry in self.content.get("data", [])}
        found = {entry["source"]: entry["sha256"] for entry in facts}
        if not known:
            return  # stopped before its data were read
        changed = sorted(s for s in known.keys() | found.keys() if known.get(s) != found.get(s))
        if changed:
            raise ConfigError(
                f"--resume {self.folder}: the recordings of {', '.join(changed)} are not those "
                "the run began with. Restore them, or start a new run."
            )


def shard_facts(shard: Shard, copies: Mapping[str, list[str]]) -> dict[str, Any]:
    """run.json's facts of one source: content, counts, and every record left out and why."""
    excluded = dict(shard.excluded)
    repeated = copies.get(shard.source, [])
    if repeated:
        excluded["duplicate"] = [*excluded.get("duplicate", []), *repeated]
    used = ~np.isin(shard.recordings, repeated)
    return {
        "source": shard.source,
        "sha256": shard.digest,
        "cache": str(shard.path),
        "examples": int(used.sum()),
        "recordings": len(set(shard.recordings[used].tolist())),
        "patients": len(set(shard.patients[used].tolist())),
        "none_of_the_classes": int(shows_none(shard.labels[used]).sum()),
        "excluded": excluded,
        "beats_without_class": shard.beats_without_class or {},
    }
