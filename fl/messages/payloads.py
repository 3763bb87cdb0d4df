"""What sites send to the server, as typed records without Flower."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from fl.evaluation.decisions.score_histograms import ScoreHistograms
from fl.evaluation.group_evaluation import GroupMeasures


@dataclass(frozen=True, kw_only=True)
class SiteInfo:
    """Who a site is and how much it holds: its answer to the server's first question.

    Numbers of patients, 0 where they are too few to be named. What the site sends later is
    bounded by these numbers.
    """

    site: str
    n_train: int  # patients
    n_val: int  # patients
    n_test: int  # patients
    n_records: int = 0  # training records, of a recording as many as an epoch takes


@dataclass(frozen=True, kw_only=True)
class TrainingReply:
    """A site's answer to a request to train."""

    site: str
    weights: Mapping[str, NDArray[Any]]
    n_records: int  # training records: the averaging factor
    # Training records; where sites count by their patients, patients in place of records.
    annotated: tuple[int, ...]  # (class,) those that annotate the class
    recorded: tuple[int, ...]  # (lead,) those that hold the lead
    loss_sum: float
    n_seen: int
    steps: int
    n_patients: int = 0  # training patients; 0: too few for their number to leave the site
    # What the strategy sends beside the weights; merged by the strategy's own rule.
    extra: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SourceValidation:
    """Validation of one source's records at one site, as counts that add."""

    n_patients: int
    scores: ScoreHistograms


@dataclass(frozen=True, kw_only=True)
class EvaluationReply:
    """A site's answer to a request to evaluate: counts on validation, its measures on test."""

    site: str
    n_records: int
    n_patients: int
    loss_sum: float  # sum over patients of the mean loss of each one's records
    by_source: Mapping[str, SourceValidation]  # validation of each source; empty on test
    report: GroupMeasures | None  # on test; None on validation
    steps: int = 0  # gradient steps taken before the test (finetune)
