"""Import modules faster, or without their warnings."""

import contextlib
import gc
import importlib
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """While this lasts, modules load a fifth faster; Python never looks through them afterwards.

    torch alone makes half a million objects, which stay until the end. Python would search them
    for unused ones several times while they load, often during a run, and once more at its end.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def import_fast(name: str) -> ModuleType:
    """A module; if this is its first import it loads without garbage collection."""
    if name in sys.modules:
        return importlib.import_module(name)
    with without_garbage_collection():
        return importlib.import_module(name)


def import_quietly(name: str) -> ModuleType:
    """A module, imported when it is first needed, without the warnings of its own imports.

    wfdb imports pandas, which takes a second and warns of wfdb's own use of it; neither should
    trouble a user who only asked for help text.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)
