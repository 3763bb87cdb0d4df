"""What models predicted for test records: one record, and the one writer and reader of its CSV."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.data.cohort import Cohort
from fl.evaluation.metrics import Labels, Probs
from fl.evaluation.predictions_csv import DECIMALS, Columns, plain_lines, read_plain_lines
from fl.util.atomic_io import write_atomically
from fl.util.errors import DataError

KEYS = ("strategy", "source", "record", "patient", "site", "split")
VALUES = ("labels", "probabilities", "decided", "fold")
LINES_AT_ONCE = 1 << 14  # that are written: more do not fit the processor's cache
LABEL_OF_CELL = {"1": 1, "0": 0, "": -1}
CELL_OF_LABEL = {label: cell for cell, label in LABEL_OF_CELL.items()}
DECISION_OF_CELL = {"1": True, "0": False}


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """What models predicted for test records: predictions.csv, column by column."""

    classes: tuple[str, ...]
    strategy: NDArray[np.str_]  # (line,) of the model: `fedavg`, `pooled`, `local-site-3`
    source: NDArray[np.str_]
    record: NDArray[np.str_]
    patient: NDArray[np.str_]
    site: NDArray[np.str_]  # its name, or `central`, or `unseen`
    split: NDArray[np.str_]
    labels: Labels  # (line, class): 1 yes, 0 no, -1 not annotated
    probabilities: Probs  # (line, class) calibrated, of seven decimals
    decided: NDArray[np.bool_]  # (line, class) whether the class is predicted to be present
    fold: NDArray[np.str_]  # (line,) of a run with several folds inside its sites; else ""

    def __len__(self) -> int:
        return len(self.record)

    @classmethod
    def of_cohort(
        cls,
        cohort: Cohort,
        p: Probs,
        decided: NDArray[np.bool_],
        *,
        strategy: str,
        site: str,
        split: str,
    ) -> "Predictions":
        """What one model answered for the examples of a cohort: p and decided (example, class)."""
        same = {"strategy": strategy, "site": site, "split": split, "fold": ""}
        return cls(
            classes=cohort.task.classes,
            source=np.asarray(cohort.sources, dtype=np.str_),
            record=np.asarray(cohort.names, dtype=np.str_),
            patient=np.asarray(cohort.patients, dtype=np.str_),
            labels=np.asarray(cohort.labels, dtype=np.int8),
            probabilities=np.asarray(np.round(p, DECIMALS), dtype=np.float64),
            decided=decided,
            **{name: np.full(len(cohort), value) for name, value in same.items()},
        )

    @classmethod
    def joined(cls, parts: Sequence["Predictions"], classes: Sequence[str]) -> "Predictions":
        """The lines of several predictions of the same classes, one after the other."""
        whole = [_no_lines(classes), *parts]
        if any(part.classes != whole[0].classes for part in parts):
            raise ValueError("predictions of different classes cannot be joined")
        columns = (*KEYS, *VALUES)
        found: dict[str, Any] = {
            name: np.concatenate([getattr(part, name) for part in whole]) for name in columns
        }
        return cls(classes=whole[0].classes, **found)

    def take(self, rows: NDArray[Any]) -> "Predictions":
        """Only these lines."""
        columns = (*KEYS, *VALUES)
        found: dict[str, Any] = {name: getattr(self, name)[rows] for name in columns}
        return Predictions(classes=self.classes, **found)

    def of(self, strategy: str, site: str) -> "Predictions":
        """What one model predicted for the test records of one site (or of `central`)."""
        return self.take((self.strategy == strategy) & (self.site == site))

    def by_model_and_site(self) -> dict[tuple[str, str], "Predictions"]:
        """The lines of each (strategy, site), in the order in which they first appear."""
        rows: dict[tuple[str, str], list[int]] = {}
        for row, key in enumerate(zip(self.strategy.tolist(), self.site.tolist(), strict=True)):
            rows.setdefault(key, []).append(row)
        return {key: self.take(np.array(chosen)) for key, chosen in rows.items()}

    def in_fold(self, fold: str) -> "Predictions":
        """The same lines as those of one fold."""
        return replace(self, fold=np.full(len(self), fold))

    def to_csv(self) -> str:
        """The text of predictions.csv."""
        return self.to_csv_bytes().decode()

    def to_csv_bytes(self) -> bytes:
        """The content of predictions.csv, in UTF-8."""
        content = io.BytesIO()
        content.write(_csv_text([_header(self.classes)]).encode())
        for start in range(0, len(self), LINES_AT_ONCE):
            rows = slice(start, start + LINES_AT_ONCE)
            columns = Columns(
                texts=[getattr(self, name)[rows] for name in (*KEYS, "fold")],
                labels=self.labels[rows],
                probabilities=self.probabilities[rows],
                decided=self.decided[rows],
            )
            lines = plain_lines(columns)
            content.write(_csv_text(_cells(columns)).encode() if lines is None else lines)
        return content.getvalue()


def write_predictions(path: Path, predictions: Predictions, synced: bool = True) -> None:
    """Write predictions as CSV, whole or not at all; `synced`: as `write_atomically`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, predictions.to_csv_bytes(), synced=synced)


def read_predictions(path: Path, classes: Sequence[str]) -> Predictions:
    """The predictions in a CSV file; `DataError` names the file and what is wrong with it."""
    try:
        with path.open("rb") as content:
            columns = read_plain_lines(content, _header(classes), len(classes))
        if columns is not None:
            return _from_columns(columns, classes)
        # One by one: only so can the line that is wrong be named.
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _parsed(csv.reader(file), classes)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read ({reason}). The run is incomplete.") from None
    except ValueError as error:
        raise DataError(f"{path}: {error}. Run it again with this version.") from None


def _header(classes: Sequence[str]) -> list[str]:
    return [*KEYS, *(f"{kind}_{c}" for kind in "ypd" for c in classes), "fold"]


def _csv_text(lines: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def _cells(columns: Columns) -> Iterator[list[Any]]:
    """The cells of each line."""
    *keys, fold = [text.tolist() for text in columns.texts]
    values = (columns.labels, columns.probabilities, columns.decided.astype(int))
    lists = [value.tolist() for value in values]
    for texts, labels, row, decided, of in zip(zip(*keys, strict=True), *lists, fold, strict=True):
        cells = [CELL_OF_LABEL[label] for label in labels]
        yield [*texts, *cells, *(f"{value:.{DECIMALS}f}" for value in row), *decided, of]


def _parsed(lines: Any, classes: Sequence[str]) -> Predictions:
    """The predictions in the lines of a `csv.reader`; `ValueError` names a line that is wrong."""
    header, first = _header(classes), len(KEYS)
    second, third = first + len(classes), first + 2 * len(classes)
    found: list[str] = next(lines, [])
    if found != header:
        odd = next((name for name in header if name not in found), ", ".join(found))
        raise ValueError(
            f"its columns are not those of the classes {', '.join(classes)}: see {odd}"
        )
    # Flat lists: of a million lines, a list for each would take as long as reading them.
    texts: list[list[str]] = [[] for _ in (*KEYS, "fold")]
    labels: list[int] = []
    probabilities: list[float] = []
    decided: list[bool] = []
    for row in lines:
        if len(row) != len(header):
            raise ValueError(f"line {lines.line_num}: {len(row)} cells, not {len(header)}")
        for column, text in zip(texts, [*row[:first], row[-1]], strict=True):
            column.append(text)
        try:
            labels += [LABEL_OF_CELL[cell] for cell in row[first:second]]
            values = [float(cell) for cell in row[second:third]]
            decided += [DECISION_OF_CELL[cell] for cell in row[third:-1]]
        except KeyError as error:
            problem = f"a label or decision is {error}; accepted are 0, 1 and, as a label, nothing"
            raise ValueError(f"line {lines.line_num}: {problem}") from None
        except ValueError as error:
            raise ValueError(
                f"line {lines.line_num}: a probability is no number ({error})"
            ) from None
        if not 0 <= sum(values) <= len(values) or min(values) < 0 or max(values) > 1:  # nan, too
            raise ValueError(f"line {lines.line_num}: a probability is not from 0 to 1")
        probabilities += values
    shape = (len(texts[0]), len(classes))
    columns = Columns(
        texts=[np.array(column, dtype=np.str_) for column in texts],
        labels=np.array(labels, dtype=np.int8).reshape(shape),
        probabilities=np.array(probabilities, dtype=np.float64).reshape(shape),
        decided=np.array(decided, dtype=np.bool_).reshape(shape),
    )
    return _from_columns(columns, classes)


def _no_lines(classes: Sequence[str]) -> Predictions:
    shape = (0, len(classes))
    columns = Columns(
        texts=[np.zeros(0, dtype="U1") for _ in (*KEYS, "fold")],
        labels=np.zeros(shape, dtype=np.int8),
        probabilities=np.zeros(shape),
        decided=np.zeros(shape, dtype=np.bool_),
    )
    return _from_columns(columns, classes)


def _from_columns(columns: Columns, classes: Sequence[str]) -> Predictions:
    texts = zip((*KEYS, "fold"), columns.texts, strict=True)
    values = {name: getattr(columns, name) for name in ("labels", "probabilities", "decided")}
    return Predictions(classes=tuple(classes), **values, **dict(texts))
