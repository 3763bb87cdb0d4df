"""Whether undocumented names of a package were tested with its installed version.

Files named `*_internals.py` touch such names. Each lists its tested versions and asks here; with
any other version its caller takes the documented way.
"""

import functools
import importlib.metadata
import logging
import os
import sys
from collections.abc import Sequence

PUBLIC_ONLY = "HEARTFED_PUBLIC_ONLY"  # environment: 1 takes the documented way in any version
_REPORTED = "HEARTFED_REPORTED"  # environment: what was reported, so that child processes do not


@functools.cache
def installed_version(package: str) -> str:
    """The version of an installed package."""
    return importlib.metadata.version(package)


def is_tested(package: str, versions: Sequence[str], otherwise: str = "") -> bool:
    """Whether undocumented names of the package may be used; if not, one line says so.

    `otherwise` completes that line: what is done instead, and what it costs. Without it nothing is
    said: for what costs a part of a second.
    """
    # What follows a plus names a build of the same sources, as in 2.13.0+cpu.
    installed = installed_version(package).partition("+")[0]
    switched_off = os.environ.get(PUBLIC_ONLY, "") not in ("", "0")
    if installed in versions and not switched_off:
        return True
    if not otherwise:
        return False
    reason = f"{PUBLIC_ONLY} is set" if switched_off else f"tested: {', '.join(versions) or 'none'}"
    _report_once(f"{package} {installed} ({reason}): {otherwise}")
    return False


def _report_once(line: str) -> None:
    """Show a line, unless this process or the one that started it has done so."""
    reported = os.environ.get(_REPORTED, "").split("\n")
    if line in reported:
        return
    os.environ[_REPORTED] = "\n".join([*reported, line]).strip()
    print(line, file=sys.stderr, flush=True)
    logger = logging.getLogger("heartfed")
    if logger.handlers:  # a deployment's log file
        logger.warning("%s", line)
