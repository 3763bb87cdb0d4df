"""Arrays that Flower carries inside one process without turning them into bytes.

Flower documents `Array` as a holder of bytes, and not that it may be subclassed. For the many
small entries of a network the bytes take longer than a round of a simulation may. Flower sends
only arrays of its own class over a network (`fl.messages.flower_arrays.packed` makes these).
"""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord
from flwr.common.constant import SType
from numpy.typing import NDArray

FLOWER_VERSIONS = ("1.41.0",)  # tested


@functools.cache
def _name_of(dtype: np.dtype[Any]) -> str:
    return str(dtype)


class NumpyArray(Array):
    """A numpy array as it is, for one process or for Ray. Nobody may change its values."""

    _values: NDArray[Any]

    def __init__(self, values: NDArray[Any]) -> None:
        # Written past Flower's own bookkeeping for arrays that change: a round of many sites
        # makes hundreds of thousands of these.
        self.__dict__.update(
            dtype=_name_of(values.dtype), shape=values.shape, stype=SType.NUMPY, _values=values
        )

    @property
    def data(self) -> bytes:  # type: ignore[override]
        """The bytes that Flower's own array would hold."""
        return Array(self.numpy()).data

    def numpy(self) -> NDArray[Any]:
        """The values themselves, not a copy."""
        return self._values

    def detach(self) -> None:
        """Hold a copy instead, where the memory that holds the values has no room for many."""
        self.__dict__["_values"] = self._values.copy()


class LazyArray(NumpyArray):
    """An array that is looked up each time its values are asked for, and held by nobody else."""

    def __init__(self, weights: Mapping[str, NDArray[Any]], name: str) -> None:
        self.__dict__.update(stype=SType.NUMPY, _weights=weights, _name=name)

    @property
    def dtype(self) -> str:  # type: ignore[override]
        """The type of the values."""
        return _name_of(self.numpy().dtype)

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """The shape of the values."""
        return self.numpy().shape

    def numpy(self) -> NDArray[Any]:
        """The values as they are now."""
        values: NDArray[Any] = self.__dict__["_weights"][self.__dict__["_name"]]
        return values


def record_of(arrays: Mapping[str, NumpyArray]) -> ArrayRecord:
    """A record of these arrays, past Flower's check of the type of every name and array."""
    record = ArrayRecord()  # given arrays it would make its own of them
    record.__dict__["_data"].update(arrays)
    return record
