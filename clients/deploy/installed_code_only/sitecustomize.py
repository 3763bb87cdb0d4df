"""Refuses program code that came with a run: a hospital executes only what is installed there.

Flower's own processes unpack what the coordinator sends below Flower's folder, and would load a
run's program from there. Python imports a module of this name at its start if its folder is on
PYTHONPATH (documentation of the module `site`); `clients.deploy.flower_supernode` puts it there
for every process that Flower's SuperNode starts.
"""

import os
import sys

FOLDER = "HEARTFED_REFUSE_CODE_IN"  # environment: no code is loaded from this folder
CODE = (".py", ".pyc", ".so", ".pyd", ".dylib", ".dll", ".zip", ".egg", ".whl")
REFUSED = "this site runs the HeartFed that is installed there, and no code that came with a run"


def refuse_code_in(folder: str) -> None:
    """From now on this process loads no module from the folder, in whatever way it is loaded."""
    inside = os.path.realpath(folder) + os.sep

    def check(event: str, arguments: tuple[object, ...]) -> None:
        # "open" comes with every file that is opened, a module's source or byte code too;
        # "import" names the file of a compiled extension, which is not opened by Python.
        if event == "open" and not _is_written(arguments):
            path = arguments[0]
        elif event == "import":
            path = arguments[1]
        else:
            return
        name = os.fsdecode(path) if isinstance(path, str | bytes) else ""
        if name.lower().endswith(CODE) and os.path.realpath(name).startswith(inside):
            raise ImportError(REFUSED)

    sys.addaudithook(check)


def _is_written(arguments: tuple[object, ...]) -> bool:
    """Whether a file is opened to be written: Flower unpacks what it was sent."""
    mode, flags = arguments[1], arguments[2]
    if isinstance(mode, str):
        return not mode.startswith("r") or "+" in mode
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


if os.environ.get(FOLDER):
    refuse_code_in(os.environ[FOLDER])
