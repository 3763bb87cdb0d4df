"""The updates of a round with many sites, in a file instead of in memory.

A thousand updates of a small network fill more memory than everything else in a run, and most
strategies need one of them at a time.
"""

import os
import tempfile
import weakref
from collections import ChainMap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

MAX_BYTES_IN_MEMORY = 64 * 2**20  # bytes; updates that take no more together stay in memory
Named = Mapping[str, NDArray[Any]]


class StoredUpdate(Mapping[str, NDArray[Any]]):
    """Named arrays that are read from the file each time one is asked for."""

    def __init__(
        self, shelf: "UpdateStore", places: dict[str, tuple[int, str, tuple[int, ...]]]
    ) -> None:
        self._shelf, self._places = shelf, places

    def __getitem__(self, name: str) -> NDArray[Any]:
        offset, dtype, shape = self._places[name]
        return self._shelf.read(offset, np.dtype(dtype), shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class UpdateStore:
    """A file without a name: it is gone when nobody holds it any more, however a run ends."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (see above)
        weakref.finalize(self, self._file.close)
        self._end = 0

    def put(self, arrays: Named) -> StoredUpdate:
        """The same arrays, written down."""
        places = {}
        for name, values in arrays.items():
            places[name] = (self._end, values.dtype.str, values.shape)
            self._end += self._file.write(values.tobytes())
        self._file.flush()  # a full disk is told of here, and not by half an update
        return StoredUpdate(self, places)

    def read(self, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """What was written there."""
        size = dtype.itemsize * int(np.prod(shape))
        held = os.pread(self._file.fileno(), size, offset)
        return np.frombuffer(held, dtype=dtype).reshape(shape)


def with_entries(below: Named, above: dict[str, NDArray[Any]]) -> Named:
    """The arrays below, but for those above; what is on a shelf stays there."""
    return below | above if isinstance(below, dict) else ChainMap(above, cast(Any, below))


def update_store_for(sites: int, weights: Named, folder: Path) -> UpdateStore | None:
    """A shelf where the updates of so many sites would fill memory."""
    size = sum(values.nbytes for values in weights.values())
    return UpdateStore(folder) if sites * size > MAX_BYTES_IN_MEMORY else None
