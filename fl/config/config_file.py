"""Settings from a TOML file and flags."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fl.config.run_config import RunConfig, checked
from fl.util.errors import ConfigError


def load_config(flags: Mapping[str, Any], file: Path | None = None) -> RunConfig:
    """Settings from a TOML file and flags; a flag wins. `ConfigError` names what is wrong."""
    settings: dict[str, Any] = {}
    if file is not None:
        try:
            settings = tomllib.loads(file.read_text())
        except OSError as error:
            raise ConfigError(f"--config {file}: cannot be read ({error.strerror}).") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"--config {file}: not valid TOML ({error}).") from error
        settings = {key.replace("-", "_"): value for key, value in settings.items()}
        unknown = settings.keys() - RunConfig.model_fields.keys()
        if unknown:
            raise ConfigError(
                f"--config {file}: unknown key {', '.join(sorted(unknown))}. "
                f"Known keys: {', '.join(sorted(RunConfig.model_fields))}."
            )
    return checked(_seed_or_seeds(settings, flags) | dict(flags))


def _seed_or_seeds(file: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    """The file's settings without the seed, or seeds, that a flag replaces."""
    either = {"seed", "seeds"}
    for given in (file, flags):
        # A run's own settings, read again, have both: `seeds` is empty in those of one run.
        if either <= given.keys() and given["seeds"]:
            raise ConfigError(
                f"--seed is {given['seed']} and --seeds is {given['seeds']}: give one of them."
            )
    replaced = either if either & flags.keys() else set()
    return {name: value for name, value in file.items() if name not in replaced}
