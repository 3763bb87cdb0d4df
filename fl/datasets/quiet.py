"""wfdb behind one door: imported when first needed, and silent.

wfdb brings pandas with it, which takes a second to import and warns about wfdb's own use of it;
neither belongs in front of a user who only asked for help text.
"""

import importlib
import warnings
from pathlib import Path
from typing import Any


def call(function: str, *args: object, **options: object) -> Any:
    """Calls a function of wfdb: `call("rdheader", stem)`; raises whatever wfdb raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wfdb = importlib.import_module("wfdb")
        return getattr(wfdb, function)(*args, **options)


def header(stem: Path) -> Any:
    return call("rdheader", str(stem.absolute()))


def beats(stem: Path) -> Any:
    return call("rdann", str(stem.absolute()), "atr")


def symbols() -> frozenset[str]:
    """Every annotation symbol that PhysioNet defines."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        annotation = importlib.import_module("wfdb.io.annotation")
    return frozenset(annotation.ann_label_table["symbol"])


def processing() -> Any:
    """wfdb's beat detectors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("wfdb.processing")
