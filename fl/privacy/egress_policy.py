"""What may leave a hospital: the whole list, and the check that nothing else does.

Weights, numbers of records, and tallies. No record, no patient, no prediction of one record, no
file name, and of what went wrong only one of a few general reasons.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.evaluation.score_histograms import BINS
from fl.util.errors import ConfigError, DataError

SITE = re.compile(r"[A-Za-z0-9_-]{1,64}")  # a site's name
NAME = re.compile(r"[A-Za-z0-9_+.-]{1,64}")  # a site's or a source's

# By kind of visit: the words, the numbers and the arrays of a reply.
WORDS = {
    "query": frozenset({"site"}),
    "train": frozenset({"site"}),
    "evaluate": frozenset({"site", "sources", "report"}),
}
NUMBERS = {
    "query": frozenset({"n-train", "n-val", "n-test"}),
    "train": frozenset({"num-examples", "annotated", "recorded", "loss-sum", "n-seen", "steps"}),
    "evaluate": frozenset({"num-examples", "n-patients", "loss-sum", "steps"}),
}
HISTOGRAMS = frozenset({"positive", "negative", "argmax"})

# A site's own measures on test: sums and shares over all its test records.
INTERVALS = frozenset({"macro_f1", "macro_auroc"})
FIGURES = frozenset(
    {"n_records", "n_patients", "accuracy", "macro_precision", "macro_recall"}
    | {"macro_auprc", "macro_brier", "macro_ece"}
)
CLASS_FIGURES = frozenset(
    {"n", "positive", "prevalence", "precision", "recall", "f1", "auroc", "auprc", "brier"}
    | {"ece", "accuracy"}
)

REASONS = {
    "version": "it runs another version of HeartFed",
    "settings": "it does not accept the settings of this run; its own log says which",
    "data": "its data cannot be used; its own log says why",
    "memory": "it ran out of memory",
    "failed": "it failed; its own log says why",
}


class EgressError(Exception):
    """A reply that holds something that is not on the list; it stays where it is."""


class VersionMismatch(ConfigError):
    """The coordinator runs another version of the programme than this site."""


def reason_for(error: BaseException) -> str:
    """The general reason that may be told of an error: its own words may name a file."""
    kinds = {
        VersionMismatch: "version",
        ConfigError: "settings",
        DataError: "data",
        MemoryError: "memory",
    }
    return REASONS[next((key for kind, key in kinds.items() if isinstance(error, kind)), "failed")]


def permitted_report(report: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a site's measures that may leave: no parts by sex or age, nothing unknown."""
    if not report:
        return {}
    kept = {k: v for k, v in report.items() if k in FIGURES | INTERVALS | {"macro_classes"}}
    classes = {
        name: {k: v for k, v in entry.items() if k in CLASS_FIGURES}
        for name, entry in report["classes"].items()
    }
    return kept | {"classes": classes}


def check_content(
    kind: str,
    words: Mapping[str, object],
    numbers: Mapping[str, object],
    arrays: Mapping[str, NDArray[Any]],
    like: Mapping[str, tuple[int, ...]],
) -> None:
    """`EgressError` unless a reply to a visit of this kind holds what is listed and nothing else.

    `like` is the shape of every array that the visit came with: an update has no other.
    """
    if kind not in WORDS:
        raise EgressError(f"{kind!r} is no known kind of visit")
    _only(words, WORDS[kind], "words")
    _only(numbers, NUMBERS[kind], "numbers")
    for name in words.keys() - {"report"}:
        value = words[name]
        names = value if name == "sources" and isinstance(value, list) else [value]
        if not all(NAME.fullmatch(str(one)) for one in names):
            raise EgressError(f"{name} is not a name")
    for name, value in numbers.items():
        parts = value if isinstance(value, list) else [value]
        if not all(isinstance(part, int | float) for part in parts):
            raise EgressError(f"{name} is not a number")
    _check_arrays(kind, arrays, like)
    if kind == "evaluate":
        _check_sources(words.get("sources", []), numbers.get("n-patients", []), arrays)


def check_report(report: Mapping[str, Any]) -> None:
    """`EgressError` unless a site's measures are figures of all its test records."""
    if not report:
        return
    _only(report, FIGURES | INTERVALS | {"classes", "macro_classes"}, "measures")
    for name in FIGURES & report.keys():
        _number(report[name], name)
    for name in INTERVALS & report.keys():
        _only(report[name], frozenset({"value", "low", "high"}), name)
        for value in report[name].values():
            _number(value, name)
    for name, entry in report["classes"].items():
        _only(entry, CLASS_FIGURES, "measures of a class")
        for value in entry.values():
            _number(value, name)
    if not set(report["macro_classes"]) <= report["classes"].keys():
        raise EgressError("macro_classes are not classes")


def _check_arrays(
    kind: str, arrays: Mapping[str, NDArray[Any]], like: Mapping[str, tuple[int, ...]]
) -> None:
    if kind == "train":
        for name, array in arrays.items():
            if array.shape != like.get(name):
                raise EgressError(f"{name} of shape {array.shape} is no entry of the model")
    elif kind == "evaluate":
        _only(arrays, HISTOGRAMS, "tallies")
    elif arrays:
        raise EgressError("arrays in a reply that has none")
    for name, array in arrays.items():
        if not np.issubdtype(array.dtype, np.number):
            raise EgressError(f"{name} does not hold numbers")


def _check_sources(
    sources: object, n_patients: object, histograms: Mapping[str, NDArray[Any]]
) -> None:
    """`EgressError` unless each source has one number of patients and one of each histogram."""
    if not isinstance(sources, list) or not isinstance(n_patients, list):
        raise EgressError("sources and their patients are not lists")
    if len(set(sources)) != len(sources) or len(n_patients) != len(sources):
        raise EgressError(f"{len(n_patients)} numbers of patients for {len(sources)} sources")
    for name, counts in histograms.items():
        bins = 2 if name == "argmax" else BINS
        fits = counts.ndim == 3 and counts.shape[::2] == (len(sources), bins)
        if not fits or not np.issubdtype(counts.dtype, np.integer):
            raise EgressError(f"{name} of shape {counts.shape} is no histogram of each source")


def _only(found: Mapping[str, object], listed: frozenset[str], what: str) -> None:
    odd = sorted(set(found) - listed)
    if odd:
        raise EgressError(f"{what} that are not on the list: {', '.join(odd)}")


def _number(value: object, name: str) -> None:
    if value is not None and not isinstance(value, int | float):
        raise EgressError(f"{name} is not a number")
