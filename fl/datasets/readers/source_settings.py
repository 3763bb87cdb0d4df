"""What the owner of a folder declares about all its records, in the file `source.toml`.

`labels_complete = true` says that every record was examined for all nine rhythm classes, so that a
class that labels.csv does not name is absent. A list, `labels_complete = ["AF", "MI"]`, says so of
these classes alone. `false` says that only what is named is known.
"""

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fl.ecg.labels import RHYTHM_CLASSES
from fl.util.errors import DataError, did_you_mean

SETTINGS = "source.toml"
COMPLETE = "labels_complete"
ACCEPTED = (*RHYTHM_CLASSES, "MI")


@dataclass(frozen=True, kw_only=True)
class SourceSettings:
    """The declarations of a folder's owner."""

    # Classes whose labels are complete in each record, of ACCEPTED; None if nothing is declared
    complete: tuple[str, ...] | None = None

    def notes(self) -> list[str]:
        """What is declared, in words."""
        if self.complete is None:
            return []
        if not self.complete:
            return [f"{SETTINGS}: labels are not complete; a class that is not named is unknown"]
        return [f"{SETTINGS}: labels are complete for {', '.join(self.complete)}"]


def source_settings(folder: Path) -> SourceSettings:
    """The declarations in a folder, none without a file; `DataError` for one with a mistake."""
    path = folder / SETTINGS
    if not path.is_file():
        return SourceSettings()
    state = path.stat()
    return _settings(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=16)
def _settings(path: Path, _changed: int, _size: int) -> SourceSettings:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}). Write one line: {COMPLETE} = true"
        ) from None
    for name in content:
        if name != COMPLETE:
            raise DataError(
                f"{path}: {name!r} is no setting.{did_you_mean(name, [COMPLETE])} Known: "
                f"{COMPLETE}."
            )
    return SourceSettings(complete=_complete(path, content.get(COMPLETE)))


def _complete(path: Path, value: object) -> tuple[str, ...] | None:
    """The classes that a value of `labels_complete` stands for."""
    if value is None:
        return None
    if isinstance(value, bool):
        return RHYTHM_CLASSES if value else ()
    if isinstance(value, list) and all(name in ACCEPTED for name in value):
        return tuple(name for name in ACCEPTED if name in value)
    raise DataError(
        f"{path}: {COMPLETE} is {value!r}. Accepted: true, false, or a list of "
        f"{', '.join(ACCEPTED)}."
    )
