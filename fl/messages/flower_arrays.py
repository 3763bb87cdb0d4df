"""Weights as Flower carries them: not copied inside one process, packed into one on the wire."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy
from flwr.app import (
    Array,
    ArrayRecord,
    Message,
    RecordDict,
)
from flwr.common.constant import SType
from numpy.typing import NDArray
from safetensors import SafetensorError

from fl.training.state_dict import Weights

PACKED = "packed"  # the one array of a record that holds all of them
EXTRA = "extra/"  # before the name of an array that a strategy sends beside the weights


@functools.cache
def _name_of(dtype: np.dtype[Any]) -> str:
    return str(dtype)


class NumpyArray(Array):
    """An array that is not turned into bytes: for one process, or Ray, and not for the wire.

    Flower's own holds the bytes, which for the many small entries of a network take longer than
    a simulation's round may, and Flower's wire takes no other class than its own (`packed` makes
    that). Nobody may change the values afterwards.
    """

    _values: NDArray[Any]

    def __init__(self, values: NDArray[Any]) -> None:
        # Past Flower's own bookkeeping for arrays that change: a round of many sites makes
        # hundreds of thousands.
        self.__dict__.update(
            dtype=_name_of(values.dtype), shape=values.shape, stype=SType.NUMPY, _values=values
        )

    @property
    def data(self) -> bytes:  # type: ignore[override]
        """The bytes that Flower's own would hold."""
        return Array(self.numpy()).data

    def numpy(self) -> NDArray[Any]:
        """The values themselves, not a copy."""
        return self._values

    def detach(self) -> None:
        """Hold a copy instead, as where the values lie has no room for many."""
        self.__dict__["_values"] = self._values.copy()


class LazyArray(NumpyArray):
    """An array that is looked up each time its values are asked for, and held by nobody else."""

    def __init__(self, weights: Mapping[str, NDArray[Any]], name: str) -> None:
        self.__dict__.update(stype=SType.NUMPY, _weights=weights, _name=name)

    @property
    def dtype(self) -> str:  # type: ignore[override]
        """Of its values."""
        return _name_of(self.numpy().dtype)

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """Of its values."""
        return self.numpy().shape

    def numpy(self) -> NDArray[Any]:
        """The values as they are now."""
        values: NDArray[Any] = self.__dict__["_weights"][self.__dict__["_name"]]
        return values


def to_array_record(weights: Mapping[str, NDArray[Any]]) -> ArrayRecord:
    """Weights as Flower carries them; what is no dict is looked up when it is needed."""
    record = ArrayRecord()  # given them at once it would make arrays of its own
    for name in weights:
        if isinstance(weights, dict):
            record[name] = NumpyArray(np.asarray(weights[name], order="C"))
        else:
            record[name] = LazyArray(weights, name)
    return record


def from_array_record(record: ArrayRecord) -> Weights:
    """Weights from a Flower record."""
    return {name: array.numpy() for name, array in record.items()}


def packed(message: Message) -> Message:
    """The message with all arrays of a record in one.

    Flower moves every array by itself, in three requests and three rows of a database at each
    stop; a network of fifty entries is moved in a tenth of the time when it is one.
    """
    for name, record in _array_records(message).items():
        if record:
            whole = np.frombuffer(safetensors.numpy.save(from_array_record(record)), dtype=np.uint8)
            sent = ArrayRecord({PACKED: Array(whole)})
            message.content = RecordDict(dict(message.content) | {name: sent})
    return message


def unpacked(message: Message) -> Message:
    """What `packed` was given; another message as it is. `ValueError` if it is damaged."""
    for name, record in _array_records(message).items():
        if set(record) == {PACKED}:
            try:
                arrays = safetensors.numpy.load(record[PACKED].numpy().tobytes())
            except SafetensorError as error:
                raise ValueError(f"its arrays cannot be read ({error})") from None
            message.content = RecordDict(dict(message.content) | {name: to_array_record(arrays)})
    return message


def _array_records(message: Message) -> dict[str, ArrayRecord]:
    return dict(message.content.array_records) if message.has_content() else {}


def with_extra(weights: Weights, extra: Weights) -> Weights:
    """Weights and a strategy's extra arrays in one record, the form in which both are merged."""
    return weights | {f"{EXTRA}{name}": value for name, value in extra.items()}


def split_extra(both: Weights) -> tuple[Weights, Weights]:
    """The two that `with_extra` joined."""
    extra = {k.removeprefix(EXTRA): v for k, v in both.items() if k.startswith(EXTRA)}
    return {k: v for k, v in both.items() if not k.startswith(EXTRA)}, extra
