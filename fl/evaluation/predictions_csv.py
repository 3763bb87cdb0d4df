"""The lines of predictions.csv many at a time, which is several times as fast as one by one.

Only lines in the form in which nearly all are written: text of printable ASCII without a quotation
mark or a comma, and probabilities of seven decimals. Other lines are left to the `csv` module.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

DECIMALS = 7  # of a probability, as networks' predictions are rounded
BLOCK = 1 << 22  # bytes that are read at once: more do not fit the processor's cache
MAX_WIDTH = 256  # of a text; one that is longer would make its whole column as wide
COMMA, NEWLINE, QUOTE, ZERO, POINT = (ord(c) for c in ',\n"0.')
SPACE, TILDE = ord(" "), ord("~")  # the first and the last printable character
CELL = DECIMALS + 2  # bytes of a probability: `0.1234567`
PLACES = np.array([0, *range(2, CELL)])  # of its digits
PLACE_VALUES = 10.0 ** np.arange(DECIMALS, -1, -1)
# (number, digit) the four digits of each number below 10,000, as characters.
FOUR_DIGITS = (np.arange(10_000)[:, None] // [1000, 100, 10, 1] % 10 + ZERO).astype(np.uint8)

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Lines of predictions.csv, column by column; see `predictions.Predictions`."""

    texts: list[NDArray[Any]]  # (line,) each, the fold last; bytes while they are read
    labels: NDArray[np.int8]  # (line, class)
    probabilities: NDArray[np.float64]  # (line, class)
    decided: NDArray[np.bool_]  # (line, class)


def plain_lines(columns: Columns) -> bytes | None:
    """The text of these lines, or None if one of them needs the `csv` module."""
    *keys, fold = [_characters(text) for text in columns.texts]
    labels, p = columns.labels, columns.probabilities
    if fold is None or any(key is None for key in keys) or not np.isin(labels, (-1, 0, 1)).all():
        return None
    cells = _probability_cells(p)
    if cells is None:
        return None
    n = len(labels)
    comma = np.full((n, 1), COMMA, dtype=np.uint8)
    parts: list[Any] = [part for key in keys for part in (key, comma)]
    # A zero byte is no character: it is taken out at the end.
    parts += [_with_commas(np.where(labels < 0, 0, labels + ZERO).astype(np.uint8)[:, :, None])]
    parts += [_with_commas(cells), _with_commas((columns.decided + np.uint8(ZERO))[:, :, None])]
    lines = np.concatenate([*parts, fold, np.full_like(comma, NEWLINE)], axis=1)
    written: Bytes = lines[lines != 0]
    return written.tobytes()


def _characters(text: NDArray[np.str_]) -> Bytes | None:
    """(line, character), zero after the end; None if one is not plain."""
    codes = np.ascontiguousarray(text).view(np.uint32).reshape(len(text), -1)
    odd = (codes < SPACE) | (codes > TILDE) | (codes == QUOTE) | (codes == COMMA)
    ended = codes == 0
    if (odd & ~ended).any() or (ended[:, :-1] & ~ended[:, 1:]).any():
        return None
    return codes.astype(np.uint8)


def _probability_cells(p: NDArray[np.float64]) -> Bytes | None:
    """(line, class, character) of seven decimals; None if one has more."""
    if not ((p >= 0) & (p <= 1)).all() or np.signbit(p).any():
        return None
    scaled = np.rint(p * 10**DECIMALS)
    # Such a quotient is the number nearest to its decimals, so these are what `.7f` writes.
    if (scaled / 10**DECIMALS != p).any():
        return None
    high, low = np.divmod(scaled.astype(np.int64), 10_000)
    cells = np.empty((*p.shape, CELL), dtype=np.uint8)
    first = FOUR_DIGITS[high]
    cells[:, :, 0], cells[:, :, 1] = first[:, :, 0], POINT
    cells[:, :, 2:5], cells[:, :, 5:] = first[:, :, 1:], FOUR_DIGITS[low]
    return cells


def _with_commas(cells: Bytes) -> Bytes:
    """(line, class, character) -> (line, character) with a comma after each class."""
    commas = np.full((*cells.shape[:2], 1), COMMA, dtype=np.uint8)
    return np.concatenate([cells, commas], axis=2).reshape(len(cells), -1)


def read_plain_lines(file: BinaryIO, header: Sequence[str], classes: int) -> Columns | None:
    """All lines of an open file; None if one is not plain, or there is anything wrong with it."""
    if file.readline() != (",".join(header) + "\n").encode():
        return None
    blocks: list[Columns] = []
    while content := file.read(BLOCK) + file.readline():
        found = _parsed_block(content, len(header), classes)
        if found is None:
            return None
        blocks.append(found)
    if not blocks:
        return None
    return Columns(
        texts=[_text(column) for column in zip(*(b.texts for b in blocks), strict=True)],
        labels=np.concatenate([b.labels for b in blocks]),
        probabilities=np.concatenate([b.probabilities for b in blocks]),
        decided=np.concatenate([b.decided for b in blocks]),
    )


def _text(blocks: Sequence[NDArray[np.bytes_]]) -> NDArray[np.str_]:
    """A column of ASCII as text."""
    whole = np.concatenate(blocks)
    codes = whole.view(np.uint8).reshape(len(whole), -1).astype(np.uint32)
    return codes.view(f"U{codes.shape[1]}")[:, 0]


def _parsed_block(content: bytes, cells: int, classes: int) -> Columns | None:
    """Whole lines of so many cells; None if one is not plain or is wrong."""
    block = np.frombuffer(content, dtype=np.uint8)
    newlines = np.count_nonzero(block == NEWLINE)
    is_end = (block == COMMA) | (block == NEWLINE)
    plain = np.count_nonzero(block < SPACE) == newlines and block.max() <= TILDE
    if not plain or (block == QUOTE).any() or np.count_nonzero(is_end) != newlines * cells:
        return None
    ends = np.flatnonzero(is_end).reshape(newlines, cells)
    if block[-1] != NEWLINE or (block[ends[:, -1]] != NEWLINE).any():
        return None
    starts = np.concatenate([[0], ends.ravel()[:-1] + 1]).reshape(ends.shape)
    widths = ends - starts
    first = cells - 1 - 3 * classes
    y, p, d = (slice(first + k * classes, first + (k + 1) * classes) for k in range(3))
    empty = widths[:, y] == 0
    annotated = block[starts[:, y]] - np.uint8(ZERO)
    decided = block[starts[:, d]] - np.uint8(ZERO)
    probabilities = _probabilities(block, starts[:, p], widths[:, p])
    texts = [*range(first), cells - 1]
    if (
        probabilities is None
        or (widths[:, y] > 1).any()
        or ((annotated > 1) & ~empty).any()
        or (widths[:, d] != 1).any()
        or (decided > 1).any()
        or widths[:, texts].max() > MAX_WIDTH
    ):
        return None
    padded = np.frombuffer(content + bytes(MAX_WIDTH), dtype=np.uint8)
    return Columns(
        texts=[_cut(padded, starts[:, k], widths[:, k]) for k in texts],
        labels=np.where(empty, -1, annotated.astype(np.int8)),
        probabilities=probabilities,
        decided=decided == 1,
    )


def _probabilities(
    block: Bytes, starts: NDArray[np.int64], widths: NDArray[np.int64]
) -> NDArray[np.float64] | None:
    """(line, class) the numbers of seven decimals that start there; None if one is another."""
    if (widths != CELL).any():
        return None
    characters = np.lib.stride_tricks.sliding_window_view(block, CELL)[starts]
    digits = characters[:, :, PLACES] - np.uint8(ZERO)
    if (digits > 9).any() or (characters[:, :, 1] != POINT).any():
        return None
    # Whole numbers below 2**53 and a power of ten below 10**22: the quotient is what `float` gives.
    p: NDArray[np.float64] = digits.astype(np.float64) @ PLACE_VALUES / 10**DECIMALS
    return None if (p > 1).any() else p


def _cut(block: Bytes, starts: NDArray[np.int64], widths: NDArray[np.int64]) -> NDArray[np.bytes_]:
    """(line,) the texts that start there."""
    width = max(int(widths.max()), 1)
    characters = np.lib.stride_tricks.sliding_window_view(block, width)[starts]
    characters[np.arange(width) >= widths[:, None]] = 0
    return characters.view(f"S{width}")[:, 0]
