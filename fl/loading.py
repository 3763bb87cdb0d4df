"""Load modules without looking for garbage among what they define."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def loading() -> Iterator[None]:
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
