"""The digest by which an audit log names weights, so that others can compute it from a file."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def arrays_digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of named arrays, as hexadecimal digits: what they hold, whatever carries them.

    In order of name: a JSON list of name, type as numpy writes it and shape, a line end, and the
    values, row by row. `arrays_digest(load_weights(path))` is the digest of a saved model.
    """
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        head = json.dumps([name, array.dtype.str, list(array.shape)])
        digest.update(head.encode("ascii") + b"\n")
        digest.update(array.tobytes())
    return digest.hexdigest()


def text_digest(text: str) -> str:
    """SHA-256 of a text in UTF-8, as hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
