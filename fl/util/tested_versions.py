"""Which versions of another package our use of its undocumented names was tested on."""

import logging
from collections.abc import Mapping, Sequence
from importlib.metadata import version

TestedVersions = Mapping[str, Sequence[str]]  # package -> exact versions


def untested(tested: TestedVersions) -> str:
    """Each installed package of another version, as "ray 2.56.0 (tested: 2.55.1)"; else ""."""
    return ", ".join(
        f"{package} {installed} (tested: {', '.join(versions) or 'none'})"
        for package, versions in tested.items()
        if (installed := version(package)) not in versions
    )


def is_tested(tested: TestedVersions, otherwise: str) -> bool:
    """Whether all versions were tested. If not, one line of the log says what is done instead."""
    if found := untested(tested):
        logging.getLogger("heartfed").warning("%s: %s", found, otherwise)
    return not found
