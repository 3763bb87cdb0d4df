"""scipy without the notes that it adds to the docstrings of its functions.

As scipy.stats loads, 625 docstrings are parsed and written again with a table of the array
libraries that a function was tested with. That is a third of its import, and scikit-learn loads
scipy.stats in every process that measures something. Functions keep the docstrings of their text.
"""

from collections.abc import Callable
from types import ModuleType

from fl.util.imports.import_hooks import Execute, load_by
from fl.util.tested_versions import is_tested

SCIPY_VERSIONS = ("1.17.1",)  # tested; any other version loads as scipy loads it
NOTES = "scipy._lib._array_api"


def leave_notes_out() -> None:
    """Let scipy leave its notes out when it is first imported."""
    load_by(NOTES, _without_notes)


def _without_notes(execute: Execute, notes: ModuleType) -> None:
    execute(notes)
    if is_tested("scipy", SCIPY_VERSIONS):
        notes.FunctionDoc = _Docstring  # type: ignore[attr-defined]


class _Docstring(dict[str, list[str]]):
    """A function's docstring in scipy's shape of sections, with nothing read and nothing added."""

    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__(Notes=[])
        self._text = function.__doc__ or ""

    def __str__(self) -> str:
        return f"\n{self._text}"  # scipy takes the first line, a signature, away
