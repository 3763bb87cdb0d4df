"""run.json as the reports read it: how a run was made, and from what."""

from pathlib import Path
from typing import Any

from pydantic import Field

from fl.runs.bounded_files import read_json
from fl.runs.results import REMEDY
from fl.util.errors import DataError
from fl.util.json_record import JsonRecord

DEPLOYMENT = "deployment"  # the engine of a run whose hospitals are real


class SourceFacts(JsonRecord):
    """What a run used of one source: content, counts, and every record left out and why."""

    source: str
    sha256: str
    cache: str
    examples: int
    recordings: int
    patients: int
    none_of_the_classes: int = 0  # examples; known negatives
    excluded: dict[str, list[str]]  # verdict -> records
    # Annotated beats of the records used for which the task has no class: code -> beats
    beats_without_class: dict[str, int] = Field(default_factory=dict)


class SiteFailure(JsonRecord):
    """A site that was left out of a round, and why."""

    round: int
    site: str
    reason: str
    strategy: str = ""


class TransferFacts(JsonRecord):
    """The saved model that a run's training started from, and what was taken of it."""

    file: str  # as it was named
    sha256: str
    task: str
    model: str  # network
    strategy: str
    synthetic: bool  # trained on synthetic recordings
    taken: int  # entries
    fresh: tuple[str, ...]  # entries of this run's network that were not taken
    why_fresh: str
    unused: tuple[str, ...]  # entries of the saved model that this run's network has not got
    freeze: str  # a value of --freeze
    frozen: int  # entries that stay as they were taken
    sources: tuple[str, ...] = ()  # that trained the saved model, as far as its file says
    earlier_sources: tuple[str, ...] = ()  # that trained the model which that one started from
    # Test patients of this run, and those of them whose records trained the saved model or chose
    # its round; None where the run directory of the saved model is not there to tell.
    test_patients: int | None = None
    seen_patients: int | None = None
    # The same of the patients whom this run trains or validates.
    training_patients: int | None = None
    seen_in_training: int | None = None


class AuditHead(JsonRecord):
    """The last line of an audit log when a run ended: what is kept of it outside the log."""

    of: str  # coordinator, or the site
    line: int
    sha256: str


class PrivacyFacts(JsonRecord):
    """What a run with differential privacy promises each patient: `Guarantee`.

    A hospital's own file also has what all runs together have spent of its patients' privacy.
    """

    unit: str
    epsilon: float
    delta: float
    sampling: str
    sample_rate: float
    steps: int
    clip: float
    noise_multiplier: float
    validation_noise_multiplier: float
    scope: str
    accountant: str
    against: str
    trainings: int = 1
    spent_epsilon: float | None = None
    spent_delta: float | None = None
    epsilon_budget: float | None = None
    delta_budget: float | None = None


class RunFacts(JsonRecord):
    """How a run was made, and from what: the parts of run.json that reports show."""

    status: str
    config: dict[str, Any]
    data: tuple[SourceFacts, ...]
    sites: tuple[dict[str, Any], ...]  # rows of `partitions.summary.site_rows`
    heartfed: str = ""  # version
    engine: str = ""
    started: str = ""
    command: tuple[str, ...] = ()
    seed: int | None = None
    synthetic: tuple[str, ...] = ()  # sources
    versions: dict[str, str] = Field(default_factory=dict)
    failures: tuple[SiteFailure, ...] = ()
    devices: dict[str, dict[str, Any]] | None = None
    transfer: TransferFacts | None = None  # None: every weight was drawn at random
    non_iid: float | None = None
    not_measurable_centrally: tuple[str, ...] = ()  # classes
    resumed: tuple[str, ...] = ()
    audit: AuditHead | None = None  # of a deployment
    privacy: PrivacyFacts | None = None  # None: no differential privacy
    # Of a run over folds: how many, sites with fewer patients, and patients without a test result
    # (training -> site -> number).
    site_folds: int = 0
    smaller_than_folds: dict[str, int] = Field(default_factory=dict)
    untested: dict[str, dict[str, int]] = Field(default_factory=dict)


def read_run_facts(folder: Path) -> RunFacts:
    """run.json of a completed run; `DataError` if the run is not completed or tells too little."""
    path = folder / "run.json"
    content = read_json(path)
    status = content.get("status", "of unknown status")
    if status != "completed":
        raise DataError(
            f"{folder}: the run is {status}, not completed. Go on with it: python run_sim.py "
            f"--resume {folder}"
        )
    facts = RunFacts.from_json(content, str(path), REMEDY)
    # The coordinator of real hospitals may hold no recording at all.
    needed = {"sites": facts.sites, "data": facts.data or facts.engine == DEPLOYMENT}
    empty = [name for name, found in needed.items() if not found]
    if empty:
        raise DataError(f"{path}: {empty[0]} is empty. {REMEDY}")
    return facts
