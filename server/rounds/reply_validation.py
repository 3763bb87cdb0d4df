"""What a site sends is checked before it touches anything: `ValueError` says what is wrong."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.config.run_config import RESERVED_NAMES
from fl.ecg.tasks import Task
from fl.evaluation.decisions.score_histograms import PATIENT, empty_histograms
from fl.evaluation.group_evaluation import GroupMeasures
from fl.evaluation.paired_bootstrap import METRICS
from fl.messages.payloads import EvaluationReply, SourceValidation, TrainingReply
from fl.privacy.egress_policy import NAME
from fl.training.state_dict import Weights


def validate_weights(weights: Mapping[str, NDArray[Any]], like: Weights) -> None:
    """`ValueError` unless names and shapes agree and every number is finite."""
    if weights.keys() != like.keys():
        odd = sorted(weights.keys() ^ like.keys())
        raise ValueError(f"entries differ from the model's ({odd[0]}, ...)")
    for name, value in weights.items():
        if value.shape != like[name].shape:
            raise ValueError(f"{name} has shape {value.shape}, not {like[name].shape}")
        if not np.isfinite(value).all():
            raise ValueError(f"{name} holds NaN or infinite values")


def validate_counts(
    trained: TrainingReply, site: str, task: Task, weighting: str = "records"
) -> None:
    """`ValueError` unless the update can be weighed against the others'."""
    if trained.site != site:
        raise ValueError(f"it calls itself {trained.site!r}")
    if trained.n_records <= 0:
        raise ValueError("it trained on no record")
    if not 0 <= trained.n_patients <= trained.n_records:
        raise ValueError(f"{trained.n_records} records of {trained.n_patients} patients")
    if weighting == "patients" and trained.n_patients == 0:
        raise ValueError("it has too few patients to be weighed by them (--weighting patients)")
    for name, wanted in (("annotated", len(task.classes)), ("recorded", task.leads)):
        counts = getattr(trained, name)
        if len(counts) != wanted or min(counts) < 0:
            raise ValueError(f"{name} is {counts}, not {wanted} counts")
    if not math.isfinite(trained.loss_sum):
        raise ValueError("its loss is NaN or infinite")


def validate_evaluation(evaluated: EvaluationReply, site: str, classes: int) -> EvaluationReply:
    """The same evaluation; `ValueError` unless it can be added to those of other sites."""
    if evaluated.site != site:
        raise ValueError(f"it calls itself {evaluated.site!r}")
    for source, validation in evaluated.by_source.items():
        _validate_source(source, validation, classes)
    if not math.isfinite(evaluated.loss_sum):
        raise ValueError("its loss is NaN or infinite")
    if evaluated.n_patients < 0:
        raise ValueError(f"it has {evaluated.n_patients} patients")
    _validate_report(evaluated.report)
    return evaluated


def _validate_source(source: str, validation: SourceValidation, classes: int) -> None:
    if not NAME.fullmatch(source) or source in RESERVED_NAMES:
        raise ValueError(f"{source!r} is no name of a source")
    if validation.n_patients < 0:
        raise ValueError(f"{source} has {validation.n_patients} patients")
    like = empty_histograms(classes)
    for name, counts in vars(validation.scores).items():
        if counts.shape != getattr(like, name).shape or (counts < 0).any():
            raise ValueError(f"its counts are not those of {classes} classes ({name})")
    if (validation.scores.patients > validation.n_patients).any():
        raise ValueError(f"a class of {source} has more patients than {source} has")
    # Each patient counts once for a class, up to the rounding of its many examples' shares.
    most = 1.1 * PATIENT * validation.scores.patients[:, 1]
    scores = validation.scores
    if (scores.positive.sum(axis=1) + scores.negative.sum(axis=1) > most).any():
        raise ValueError(f"a histogram of {source} counts more than its patients")


def _validate_report(report: GroupMeasures | None) -> None:
    """`ValueError` unless a site's own measures are shares."""
    values = {name: report.estimate(name).value for name in METRICS} if report else {}
    for name, value in values.items():
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"its {name} is {value}")
