"""What a row of labels.csv says about its record: rhythm classes, infarction, other diagnoses."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fl.datasets.readers.labels_table import KNOWN, MI, NORM, TABLE
from fl.ecg.labels import (
    RHYTHM_CLASSES,
    SNOMED_INFARCTION,
    SNOMED_OPEN,
    UNKNOWN,
    is_snomed,
    label_vector,
    open_classes,
)
from fl.util.errors import UnusableRecord


@dataclass(frozen=True, kw_only=True)
class RowLabels:
    """The labels of one record."""

    first: str  # the first rhythm class that is named, or ""
    labels: NDArray[np.int8]  # (class,) 1 named, 0 looked for and not named, else -1
    infarction: int  # 1, 0 or UNKNOWN
    other_codes: tuple[str, ...]  # codes of none of the classes, as they are written


def row_labels(
    name: str, row: Mapping[str, str], complete: Sequence[str] | None, beats: bool
) -> RowLabels:
    """The labels of a record. `complete` are the classes that the folder's owner declares complete.

    Without a label every class is unknown, which is allowed if the record has annotated `beats`.
    Raises UnusableRecord with the verdict for labels that cannot be used.
    """
    infarction = _infarction(name, row, complete)
    named = _cells(row["labels"])
    codes = [code for code in named if code not in (MI, NORM)]
    classes, others = _classes(name, codes)
    looked_for = _looked_for(name, row, complete, some=bool(codes))
    not_looked_for = [c for c in classes if c not in looked_for]
    if not_looked_for and _annotated(name, row):
        raise UnusableRecord(
            name, "label-conflict", f"{not_looked_for[0]} is in labels, but not in annotated"
        )
    if not codes and not looked_for and not beats and infarction == UNKNOWN:
        raise UnusableRecord(name, "no-label", f"no label in {TABLE}, and no .atr file")
    unknown = open_classes(codes, SNOMED_OPEN)
    if NORM in named:  # a normal recording; that it is NSR by CPSC2018's definition is not stated
        unknown.add("NSR")
    if not all(map(is_snomed, others)):
        unknown.update(RHYTHM_CLASSES)  # a damaged code may have been that of any class
    return RowLabels(
        first=classes[0] if classes else "",
        labels=label_vector(classes, set(looked_for) - unknown),
        infarction=infarction,
        other_codes=tuple(others),
    )


def _looked_for(
    name: str, row: Mapping[str, str], complete: Sequence[str] | None, some: bool
) -> Sequence[str]:
    """Rhythm classes that are absent where they are not named.

    They are those of the cell `annotated`; where it is empty, those that the owner declares; where
    nothing is declared, all nine of a record with `some` label.
    """
    annotated = _annotated(name, row)
    if annotated:
        return annotated
    if complete is not None:
        return [c for c in complete if c != MI]
    return RHYTHM_CLASSES if some else ()


def _annotated(name: str, row: Mapping[str, str]) -> list[str]:
    """The rhythm classes of the cell `annotated`; UnusableRecord for any other text but MI."""
    cells = [cell for cell in _cells(row["annotated"]) if cell != MI]
    for cell in cells:
        if cell not in KNOWN:
            raise _not_a_class(name, cell)
    return list(dict.fromkeys(KNOWN[cell] for cell in cells))


def _infarction(name: str, row: Mapping[str, str], complete: Sequence[str] | None) -> int:
    """1, 0 or UNKNOWN: whether the table says that the record has an infarction."""
    codes = set(_cells(row["labels"]))
    found = bool(codes & SNOMED_INFARCTION) or MI in codes
    if found and NORM in codes:
        raise UnusableRecord(name, "label-conflict", f"{NORM} and an infarction are in labels")
    if found:
        return 1
    looked_for = _cells(row["annotated"]) or complete or ()
    return 0 if NORM in codes or MI in looked_for else UNKNOWN


def _classes(name: str, codes: Sequence[str]) -> tuple[list[str], list[str]]:
    """Classes of the given names or codes in their order, and codes of none of the classes.

    Codes of other diagnoses are allowed. A number that is no SNOMED CT code is allowed beside a
    class. UnusableRecord for anything else: it must not be read as a record without the class.
    """
    classes = list(dict.fromkeys(KNOWN[code] for code in codes if code in KNOWN))
    others = [code for code in codes if code not in KNOWN]
    for code in others:
        if not is_snomed(code) and not (classes and code.isascii() and code.isdigit()):
            raise _not_a_class(name, code)
    return classes, others


def _not_a_class(name: str, text: str) -> UnusableRecord:
    shown = repr(text[:20]) if text.isprintable() else "an unreadable label"
    known = ", ".join(RHYTHM_CLASSES)
    return UnusableRecord(name, "no-label", f"{shown} is not a class. Known: {known}")


def _cells(text: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"[;|]", text) if cell.strip()]
