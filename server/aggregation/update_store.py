"""The updates of a round with many sites, in a file instead of in memory.

A thousand updates of a small network fill more memory than everything else in a run, and most
strategies need one of them at a time.
"""

import os
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_BYTES_IN_MEMORY = 64 * 2**20  # bytes; updates that take no more together stay in memory
NamedArrays = Mapping[str, NDArray[Any]]


class StoredUpdate(Mapping[str, NDArray[Any]]):
    """Named arrays that are read from the file each time one is asked for."""

    def __init__(
        self, store: "UpdateStore", places: dict[str, tuple[int, str, tuple[int, ...]]]
    ) -> None:
        self._store, self._places = store, places

    def __getitem__(self, name: str) -> NDArray[Any]:
        offset, dtype, shape = self._places[name]
        return self._store.read(offset, np.dtype(dtype), shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class UpdateStore:
    """A file without a name: it vanishes when nothing refers to it, however a run ends."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (see above)
        weakref.finalize(self, self._file.close)
        self._end = 0

    def put(self, arrays: NamedArrays) -> StoredUpdate:
        """Write arrays into the file; the result reads them again."""
        places = {}
        for name, values in arrays.items():
            places[name] = (self._end, values.dtype.str, values.shape)
            self._end += self._file.write(values.tobytes())
        self._file.flush()  # a full disk is noticed here, and not by half an update
        return StoredUpdate(self, places)

    def read(self, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """The array of this type and shape that was written at `offset`."""
        size = dtype.itemsize * int(np.prod(shape))
        content = os.pread(self._file.fileno(), size, offset)
        return np.frombuffer(content, dtype=dtype).reshape(shape)


def update_store_for(sites: int, weights: NamedArrays, folder: Path) -> UpdateStore | None:
    """A file for the updates of so many sites, if they would fill memory; else None."""
    size = sum(values.nbytes for values in weights.values())
    return UpdateStore(folder) if sites * size > MAX_BYTES_IN_MEMORY else None
