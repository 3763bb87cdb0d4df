"""What sites send to the server, as typed records without Flower."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from fl.evaluation.group_evaluation import GroupMeasures
from fl.evaluation.score_histograms import ScoreHistograms


@dataclass(frozen=True, kw_only=True)
class SiteInfo:
    """A site's first words: who it is and how much it holds."""

    site: str
    n_train: int
    n_val: int
    n_test: int


@dataclass(frozen=True, kw_only=True)
class TrainingReply:
    """What a training visit sends back."""

    site: str
    weights: Mapping[str, NDArray[Any]]
    n_records: int  # training records: the averaging factor
    annotated: tuple[int, ...]  # (class,) training records that annotate the class
    recorded: tuple[int, ...]  # (lead,) training records that hold the lead
    loss_sum: float
    n_seen: int
    steps: int
    # SCAFFOLD: the server's control variate and the site's change.
    control: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EvaluationReply:
    """What an evaluation visit sends back: counts by score, and on test its final measures."""

    site: str
    source: str
    n_records: int
    n_patients: int
    loss_sum: float
    tally: ScoreHistograms
    report: GroupMeasures | None  # on test; None on validation
    steps: int = 0  # gradient steps taken before measuring (finetune)
