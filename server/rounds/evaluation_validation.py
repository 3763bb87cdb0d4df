"""What a site sends of an evaluation is checked: `ValueError` says what is wrong."""

import math
from collections.abc import Iterable

import numpy as np

from fl.config.run_config import RESERVED_NAMES
from fl.ecg.tasks import Task
from fl.evaluation.decisions.score_histograms import PATIENT, empty_histograms
from fl.evaluation.group_evaluation import AGE_BANDS, SEXES, GroupMeasures
from fl.evaluation.metrics import ClassMeasures
from fl.evaluation.paired_bootstrap import METRICS
from fl.messages.payloads import EvaluationReply, SiteInfo, SourceValidation
from fl.privacy.egress_policy import NAME
from fl.training.losses import LARGEST_EXAMPLE_LOSS
from partitions.splits import TEST
from server.rounds.reply_validation import MOST_RECORDS, MOST_SEEN

SHARES = ("macro_precision", "macro_recall", "macro_auprc", "macro_brier", "macro_ece", "accuracy")
# Measures of a class that are no shares.
UNBOUNDED = frozenset({"brier_skill", "calibration_slope", "calibration_intercept"})
MOST_NOISED = float(PATIENT) * 10**6  # patients in a bin of a noised histogram, either way
ROUNDING = 1e-9  # a sum of shares of patients may be 1.0000000000000002
CLASS_COUNTS = ("n", "positive", "patients", "positive_patients")
SUBGROUPS = {"sex": frozenset(SEXES.values()), "age": frozenset(AGE_BANDS)}


def validate_evaluation(
    evaluated: EvaluationReply, info: SiteInfo, task: Task, split: str, noised: bool = False
) -> EvaluationReply:
    """The same evaluation; `ValueError` unless it can be added to those of other sites.

    `info` are the site's first words, which bound what it may count. Histograms with the noise of
    differential privacy (`noised`) may be below zero, and are bounded by their length alone.
    """
    if evaluated.site != info.site:
        raise ValueError(f"it calls itself {evaluated.site!r}")
    most = info.n_test if split == TEST else info.n_val
    if not 0 <= evaluated.n_patients <= most:
        raise ValueError(f"it has {evaluated.n_patients} patients; it began the run with {most}")
    if not evaluated.n_patients <= evaluated.n_records <= MOST_RECORDS:
        raise ValueError(f"{evaluated.n_records} records of {evaluated.n_patients} patients")
    if not 0 <= evaluated.steps <= MOST_SEEN:
        raise ValueError(f"it took {evaluated.steps} steps before the test")
    if not math.isfinite(evaluated.loss_sum):
        raise ValueError("its loss is NaN or infinite")
    if not 0 <= evaluated.loss_sum <= LARGEST_EXAMPLE_LOSS * evaluated.n_patients * (1 + ROUNDING):
        raise ValueError(f"its loss is {evaluated.loss_sum:g} over {evaluated.n_patients} patients")
    for source, validation in evaluated.by_source.items():
        _validate_source(source, validation, len(task.classes), noised)
    if sum(source.n_patients for source in evaluated.by_source.values()) > most:
        raise ValueError(f"its sources have more than the {most} patients it began the run with")
    if evaluated.report is not None:
        _validate_report(evaluated.report, evaluated, task)
    return evaluated


def _validate_source(source: str, validation: SourceValidation, classes: int, noised: bool) -> None:
    if not NAME.fullmatch(source) or source in RESERVED_NAMES:
        raise ValueError(f"{source!r} is no name of a source")
    if validation.n_patients < 0:
        raise ValueError(f"{source} has {validation.n_patients} patients")
    like = empty_histograms(classes)
    for name, counts in vars(validation.scores).items():
        if counts.shape != getattr(like, name).shape or (not noised and (counts < 0).any()):
            raise ValueError(f"its counts are not those of {classes} classes ({name})")
        if noised and (np.abs(counts.astype(float)) > MOST_NOISED).any():
            raise ValueError(f"a histogram of {source} counts more than any noise does")
    if noised:
        return
    if (validation.scores.patients > validation.n_patients).any():
        raise ValueError(f"a class of {source} has more patients than {source} has")
    if (validation.scores.patients[:, 0] > validation.scores.patients[:, 1]).any():
        raise ValueError(f"more patients of {source} show a class than annotate it")
    # Each patient counts once for a class, up to the rounding of its many examples' shares.
    most = 1.1 * PATIENT * validation.scores.patients[:, 1]
    scores = validation.scores
    # Summed as floats: whole numbers that are large enough would begin again below zero.
    counted = scores.positive.sum(axis=1, dtype=float) + scores.negative.sum(axis=1, dtype=float)
    if (counted > most).any():
        raise ValueError(f"a histogram of {source} counts more than its patients")


def _validate_report(report: GroupMeasures, evaluated: EvaluationReply, task: Task) -> None:
    """`ValueError` unless a site's own measures are those of its test patients."""
    counted = (report.n_records, report.n_patients)
    if counted != (evaluated.n_records, evaluated.n_patients):
        raise ValueError(
            f"its report is of {counted[0]} records of {counted[1]} patients, the evaluation of "
            f"{evaluated.n_records} of {evaluated.n_patients}"
        )
    for name in METRICS:
        estimate = report.estimate(name)
        _require_shares(name, (estimate.value, estimate.low, estimate.high))
    for name in SHARES:
        _require_shares(name, [getattr(report, name)])
    if set(report.classes) != set(task.classes):
        odd = sorted(set(report.classes) ^ set(task.classes))
        raise ValueError(f"its report's classes are not those of the task ({odd[0][:40]!r}, ...)")
    if not set(report.macro_classes) <= set(task.classes):
        raise ValueError("its report averages over classes that are none of the task's")
    for name, measures in report.classes.items():
        _validate_class(name, measures, report)
    for kind, parts in (report.subgroups or {}).items():
        if not set(parts) <= SUBGROUPS.get(kind, frozenset()):
            raise ValueError(f"its report has unknown subgroups ({kind[:40]!r})")
        for part in filter(None, parts.values()):
            _require_shares(kind, (part.macro_f1, part.macro_auroc))


def _validate_class(name: str, measures: ClassMeasures, report: GroupMeasures) -> None:
    for field, value in measures:
        if field not in UNBOUNDED and field not in CLASS_COUNTS:
            _require_shares(f"{field} of {name}", [value])
    n, positive, patients, shown = (getattr(measures, field) for field in CLASS_COUNTS)
    within = 0 <= positive <= n <= report.n_records
    if not within or not 0 <= shown <= patients <= report.n_patients:
        raise ValueError(
            f"{name} has {n} records of {patients} patients, of whom {shown} show it in {positive}"
        )


def _require_shares(name: str, values: Iterable[float | None]) -> None:
    for value in values:
        if value is not None and not -ROUNDING <= value <= 1 + ROUNDING:
            raise ValueError(f"its {name} is {value}")
