"""Numbers of a reply, read by what they must be: whoever sent it may have sent anything."""

import math
from collections.abc import Mapping
from typing import Any

MOST_COUNTED = 2**62  # of anything in a reply, which Flower carries as a number of 64 bits


def count_in(numbers: Mapping[str, Any], name: str) -> int:
    """A whole number of a reply, not below 0; `ValueError` if it is something else."""
    value = numbers[name]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_COUNTED:
        raise ValueError(f"{name} is {value!r}, not a whole number from 0 to {MOST_COUNTED}")
    return value


def counts_in(numbers: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """A list of whole numbers of a reply; `ValueError` if it is something else."""
    values = numbers[name]
    if not isinstance(values, list):
        raise ValueError(f"{name} is {values!r}, not a list")
    return tuple(count_in({name: value}, name) for value in values)


def number_in(numbers: Mapping[str, Any], name: str) -> float:
    """A finite number of a reply; `ValueError` if it is something else."""
    value = numbers[name]
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}, not a finite number")
    return float(value)
