"""The functions of wfdb that this project uses, called without its warnings."""

import warnings
from pathlib import Path
from typing import Any

from fl.util.imports.fast_import import import_quietly


def call(function: str, *args: object, **options: object) -> Any:
    """Call a function of wfdb by name: `call("rdheader", stem)`. Raises what wfdb raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(import_quietly("wfdb"), function)(*args, **options)


def beats(stem: Path, extension: str = "atr") -> Any:
    """The annotations of `stem`.atr, or of another extension, as wfdb parses them."""
    return call("rdann", str(stem.absolute()), extension)


def symbols() -> frozenset[str]:
    """Every annotation symbol that PhysioNet defines."""
    return frozenset(symbol_meanings())


def symbol_meanings() -> dict[str, str]:
    """What each annotation symbol that PhysioNet defines means."""
    table = import_quietly("wfdb.io.annotation").ann_label_table
    return dict(zip(table["symbol"], table["description"], strict=True))
