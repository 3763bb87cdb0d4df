"""Weights as Flower carries them: not copied inside one process, packed into one on a network."""

import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy
from flwr.app import Array, ArrayRecord, Message, RecordDict
from numpy.typing import NDArray
from safetensors import SafetensorError

from fl.messages.array_internals import FLOWER_VERSIONS, LazyArray, NumpyArray, record_of
from fl.messages.flower_records import arrays_in
from fl.training.state_dict import Weights
from fl.util.tested_versions import is_tested

# Versions of numpy's own format that Flower's arrays have.
NPY_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
PACKED = "packed"  # the one array of a record that holds all of them
EXTRA = "extra/"  # prefix of the arrays that a strategy sends beside the weights


def without_copies() -> bool:
    """Whether records hold numpy arrays as they are, and not Flower's copies of their bytes."""
    otherwise = "every array is copied into a Flower array, which makes rounds slower"
    return is_tested("flwr", FLOWER_VERSIONS, otherwise)


def to_array_record(weights: Mapping[str, NDArray[Any]]) -> ArrayRecord:
    """Weights as Flower carries them; what is no dict is looked up when it is needed."""
    if not without_copies():
        return ArrayRecord({name: Array(np.asarray(weights[name])) for name in weights})
    if isinstance(weights, dict):
        return record_of({k: NumpyArray(np.asarray(v, order="C")) for k, v in weights.items()})
    return record_of({name: LazyArray(weights, name) for name in weights})


def from_array_record(record: ArrayRecord) -> Weights:
    """Weights from a Flower record; `ValueError` if the bytes of one are no array."""
    for name, array in record.items():
        if not isinstance(array, NumpyArray):
            _require_whole(name, array.data)
    return {name: array.numpy() for name, array in record.items()}


def _require_whole(name: str, data: bytes) -> None:
    """`ValueError` unless the bytes of an array are as many as its own header declares.

    numpy takes the memory for what the header declares before it reads: a few bytes from a site
    could ask for more than there is.
    """
    stream = io.BytesIO(data)
    try:
        read_header = NPY_HEADERS[np.lib.format.read_magic(stream)]
        shape, _, dtype = read_header(stream)
    except (KeyError, ValueError, TypeError, SyntaxError) as error:
        raise ValueError(f"{name} is no array ({error})") from None
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > len(data) - stream.tell():
        raise ValueError(f"{name} of shape {shape} has {len(data)} bytes")


def copy_arrays(record: ArrayRecord) -> None:
    """Let a record hold copies, where the memory that its arrays lie in has no room for many."""
    if not without_copies():
        return  # Flower's own arrays hold copies already
    for name, array in record.items():
        if isinstance(array, NumpyArray):
            array.detach()
        else:
            record[name] = NumpyArray(array.numpy())


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
    """The message that `packed` was given; another message as it is. `ValueError` if damaged."""
    for name, record in _array_records(message).items():
        if set(record) == {PACKED}:
            whole = from_array_record(record)[PACKED]
            try:
                arrays = safetensors.numpy.load(whole.tobytes())
            except SafetensorError as error:
                raise ValueError(f"its arrays cannot be read ({error})") from None
            message.content = RecordDict(dict(message.content) | {name: to_array_record(arrays)})
    return message


def _array_records(message: Message) -> dict[str, ArrayRecord]:
    return arrays_in(message.content) if message.has_content() else {}


def with_extra(weights: Weights, extra: Weights) -> Weights:
    """Weights and a strategy's extra arrays in one record, the form in which both are merged."""
    return weights | {f"{EXTRA}{name}": value for name, value in extra.items()}


def split_extra(both: Weights) -> tuple[Weights, Weights]:
    """Weights and extra arrays from the record that `with_extra` made of both."""
    extra = {k.removeprefix(EXTRA): v for k, v in both.items() if k.startswith(EXTRA)}
    return {k: v for k, v in both.items() if not k.startswith(EXTRA)}, extra
