"""Settings from flags, a TOML file and the environment."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fl.config.run_config import RunConfig, checked
from fl.util.errors import ConfigError, did_you_mean

Settings = Mapping[str, Any]


def load_config(flags: Settings, file: Path | None = None) -> RunConfig:
    """Settings from a TOML file and flags; a flag wins. `ConfigError` names what is wrong."""
    return _merged(flags, _read_toml(file), {})


def config_of_user(flags: Settings, file: Path | None, environment: Mapping[str, str]) -> RunConfig:
    """What a person set: a flag wins over the file, the file over the environment.

    `$ECG_DATA` is the folder of recordings. `ConfigError` if the folder that was named
    does not exist: without this the run would train on synthetic recordings.
    """
    written = _read_toml(file)
    data_dir = environment.get("ECG_DATA")
    config = _merged(flags, written, {"data_dir": data_dir} if data_dir else {})
    named = {
        "--data-dir": flags.get("data_dir"),
        f"--config {file}: data-dir": written.get("data_dir"),
        "$ECG_DATA": data_dir,
    }
    place = next((place for place, folder in named.items() if folder), None)
    if place and config.data != "synthetic":
        require_data_folder(place, config.data_dir)
    return config


def require_data_folder(place: str, folder: str) -> None:
    """`ConfigError` unless the folder of recordings, named at this place, exists."""
    if not Path(folder).is_dir():
        raise ConfigError(
            f"{place} is {folder!r}: no such folder. Name the folder that holds mitdb/, "
            "cpsc2018/, ... (--data synthetic needs none)."
        )


def _read_toml(file: Path | None) -> dict[str, Any]:
    """The settings in a file, by the names of the fields; none without a file."""
    if file is None:
        return {}
    try:
        settings = tomllib.loads(file.read_text())
    except OSError as error:
        raise ConfigError(f"--config {file}: cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {file}: not valid TOML ({error}).") from error
    settings = {key.replace("-", "_"): value for key, value in settings.items()}
    unknown = sorted(settings.keys() - RunConfig.model_fields.keys())
    if unknown:
        known = sorted(RunConfig.model_fields)
        guess = did_you_mean(unknown[0], known) or f" Known keys: {', '.join(known)}."
        raise ConfigError(f"--config {file}: unknown key {', '.join(unknown)}.{guess}")
    return settings


def _merged(flags: Settings, written: Settings, environment: Settings) -> RunConfig:
    return checked({**environment, **_without_replaced_seeds(written, flags), **flags})


def _without_replaced_seeds(written: Settings, flags: Settings) -> dict[str, Any]:
    """The file's settings without the seed, or seeds, that a flag replaces."""
    both = {"seed", "seeds"}
    for given in (written, flags):
        # A run's own settings, read again, have both: `seeds` is empty in those of one run.
        if both <= given.keys() and given["seeds"]:
            raise ConfigError(
                f"--seed is {given['seed']} and --seeds is {given['seeds']}: give one of them."
            )
    replaced = both if both & flags.keys() else set()
    return {name: value for name, value in written.items() if name not in replaced}
