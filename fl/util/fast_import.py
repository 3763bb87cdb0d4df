"""Load modules without looking for garbage among what they define."""

import contextlib
import gc
import importlib
import warnings
from collections.abc import Iterator
from types import ModuleType


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """While this lasts modules load a fifth faster, and what there is then is taken to stay.

    torch alone makes half a million objects. Python would look through them for some that nobody
    uses: several times while they load, often while a run works, and once more at its end.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def import_quietly(name: str) -> ModuleType:
    """A module, imported when it is first needed, without the warnings of its own imports.

    wfdb brings pandas with it, which takes a second to import and warns about wfdb's own use of
    it; neither belongs in front of a user who only asked for help text.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)
