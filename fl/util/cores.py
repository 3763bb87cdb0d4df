"""How many processor cores this process may use."""

import os


def available_cores() -> int:
    """The cores that this process may use: fewer than the machine's in a container."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
