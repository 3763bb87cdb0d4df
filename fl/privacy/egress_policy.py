"""What may leave a hospital: the whole list, and the check that nothing else does.

Weights, numbers of records, and histograms of scores may leave. No record, no patient, no
prediction of one record and no file name may; if something fails, one of a few general reasons.
"""

import re
from collections.abc import Container, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.ecg.tasks import TASKS
from fl.evaluation.decisions.score_histograms import BINS
from fl.privacy.secure_aggregation.errors import ProtocolViolationError
from fl.util.errors import ConfigError, DataError

SITE = re.compile(r"[A-Za-z0-9_-]{1,64}")  # a site's name
NAME = re.compile(r"[A-Za-z0-9_+.-]{1,64}")  # a site's or a source's

# By kind of request: the texts and the numbers of a reply.
TEXTS = {
    "query": frozenset({"site"}),
    "train": frozenset({"site"}),
    "evaluate": frozenset({"site", "sources", "report"}),
}
NUMBERS = {
    "query": frozenset({"n-train", "n-val", "n-test", "n-records"}),
    "train": frozenset(
        {"num-examples", "train-patients", "annotated", "recorded", "loss-sum", "n-seen", "steps"}
    ),
    "evaluate": frozenset({"num-examples", "patients", "n-patients", "loss-sum", "steps"}),
}
# One number per class, per lead or per source; the others are one number.
LISTS = frozenset({"annotated", "recorded", "n-patients"})
# Bins of an evaluation's arrays, which are (source, class, bin).
HISTOGRAMS = {"positive": BINS, "negative": BINS, "patients": 2}
CLASSES = frozenset(name for task in TASKS.values() for name in task.classes)

# A site's own measures on test: sums and shares over all its test records.
INTERVALS = frozenset({"macro_f1", "macro_auroc"})
FIGURES = frozenset(
    {"n_records", "n_patients", "accuracy", "macro_precision", "macro_recall"}
    | {"macro_auprc", "macro_brier", "macro_ece"}
)
CLASS_FIGURES = frozenset(
    {"n", "positive", "patients", "positive_patients", "prevalence", "precision", "recall"}
    | {"specificity", "npv", "f1", "auroc", "auprc", "brier", "brier_skill", "ece", "accuracy"}
    | {"calibration_slope", "calibration_intercept"}
)

REASONS = {
    "version": "it runs another version of HeartFed",
    "settings": "it does not accept the settings of this run; its own log says which",
    "data": "its data cannot be used; its own log says why",
    "memory": "it ran out of memory",
    "secure": "it refuses a step of the secure sum; its own log says why",
    "failed": "it failed; its own log says why",
}
# What a site's policy may refuse, by a code that names the rule and not its value.
POLICY_CODES = (
    *("policy-file", "names", "task", "strategy", "split", "epochs", "rounds", "batch", "sites"),
    *("gradient-steps", "revealing-weights", "trainings", "evaluations", "audit", "privacy"),
    "budget",
)
REASONS |= {
    code: f"its policy refuses the request ({code}); its own log says why" for code in POLICY_CODES
}


class PolicyRefusal(Exception):
    """A request that the site's policy does not permit: the code may leave, the text may not."""

    def __init__(self, code: str, text: str) -> None:
        if code not in POLICY_CODES:
            raise ValueError(f"{code!r} is no code of a policy: {', '.join(POLICY_CODES)}")
        super().__init__(f"{code}: {text}")
        self.code = code


class EgressError(Exception):
    """A reply holds something that is not on the list; it is not sent."""


class VersionMismatch(ConfigError):
    """The coordinator runs another version of the program than this site."""


def reason_code(error: BaseException) -> str:
    """The code of an error in `REASONS`."""
    if isinstance(error, PolicyRefusal):
        return error.code
    kinds = {
        VersionMismatch: "version",
        ConfigError: "settings",
        DataError: "data",
        MemoryError: "memory",
        ProtocolViolationError: "secure",
    }
    return next((code for kind, code in kinds.items() if isinstance(error, kind)), "failed")


def reason_for(error: BaseException) -> str:
    """The general reason that may leave for an error, whose own text may name a file."""
    return REASONS[reason_code(error)]


def permitted_report(report: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a site's measures that may leave: no subgroups by sex or age, nothing unknown."""
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
    texts: Mapping[str, object],
    numbers: Mapping[str, object],
    arrays: Mapping[str, NDArray[Any]],
    shapes: Mapping[str, tuple[int, ...]],
) -> None:
    """`EgressError` unless a reply to this kind of request holds what is listed and nothing else.

    `shapes` are those of the arrays that came with the request: an update has no others.
    """
    if kind not in TEXTS:
        raise EgressError(f"{kind!r} is no known kind of request")
    _require_listed(texts, TEXTS[kind], "texts")
    _require_listed(numbers, NUMBERS[kind], "numbers")
    for name in texts.keys() - {"report"}:
        value = texts[name]
        names = value if name == "sources" and isinstance(value, list) else [value]
        if not all(NAME.fullmatch(str(one)) for one in names):
            raise EgressError(f"{name} is not a name")
    for name, value in numbers.items():
        if isinstance(value, list) and name not in LISTS:
            raise EgressError(f"{name} is not one number")
        for part in value if isinstance(value, list) else [value]:
            _require_number(part, name)
    _check_arrays(kind, arrays, shapes)
    if kind == "evaluate":
        _check_sources(texts.get("sources", []), numbers.get("n-patients", []), arrays)


def check_report(report: Mapping[str, Any]) -> None:
    """`EgressError` unless a site's measures are figures of all its test records."""
    if not report:
        return
    _require_listed(report, FIGURES | INTERVALS | {"classes", "macro_classes"}, "measures")
    for name in FIGURES & report.keys():
        _require_number_or_none(report[name], name)
    for name in INTERVALS & report.keys():
        _require_listed(report[name], frozenset({"value", "low", "high"}), name)
        for value in report[name].values():
            _require_number_or_none(value, name)
    _require_listed(report["classes"], CLASSES, "classes")
    for name, entry in report["classes"].items():
        _require_listed(entry, CLASS_FIGURES, "measures of a class")
        for value in entry.values():
            _require_number_or_none(value, name)
    if not set(report["macro_classes"]) <= report["classes"].keys():
        raise EgressError("macro_classes are not classes")


def _check_arrays(
    kind: str, arrays: Mapping[str, NDArray[Any]], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    if kind == "train":
        for name, array in arrays.items():
            if array.shape != shapes.get(name):
                raise EgressError(f"{name} of shape {array.shape} is no entry of the model")
            if not np.issubdtype(array.dtype, np.number):
                raise EgressError(f"{name} does not hold numbers")
    elif kind == "evaluate":
        _require_listed(arrays, HISTOGRAMS, "histograms")
        for name, array in arrays.items():
            if array.ndim != 3 or array.shape[2] != HISTOGRAMS[name]:
                raise EgressError(f"{name} of shape {array.shape} is no histogram of each source")
            if not np.issubdtype(array.dtype, np.integer):
                raise EgressError(f"{name} does not hold counts")
    elif arrays:
        raise EgressError("arrays in a reply that has none")


def _check_sources(
    sources: object, n_patients: object, histograms: Mapping[str, NDArray[Any]]
) -> None:
    """`EgressError` unless each source has one number of patients and one of each histogram."""
    if not isinstance(sources, list) or not isinstance(n_patients, list):
        raise EgressError("sources and their patients are not lists")
    if len(set(sources)) != len(sources) or len(n_patients) != len(sources):
        raise EgressError(f"{len(n_patients)} numbers of patients for {len(sources)} sources")
    for name, counts in histograms.items():
        if len(counts) != len(sources):
            raise EgressError(f"{name} of shape {counts.shape} is not one of each source")


def _require_listed(found: Mapping[str, object], listed: Container[str], what: str) -> None:
    odd = sorted(name for name in found if name not in listed)
    if odd:
        raise EgressError(f"{what} that are not on the list: {', '.join(odd)}")


def _require_number(value: object, name: str) -> None:
    if not isinstance(value, int | float):
        raise EgressError(f"{name} is not a number")


def _require_number_or_none(value: object, name: str) -> None:
    if value is not None:
        _require_number(value, name)
