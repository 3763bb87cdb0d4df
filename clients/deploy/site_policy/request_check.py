"""Every request of a coordinator is checked before it touches a file or a recording."""

import math
from dataclasses import dataclass
from pathlib import Path

import fl
from clients.deploy.site_policy.policy_file import SitePolicy, policy_of
from clients.deploy.site_policy.privacy_budget import charge
from clients.deploy.site_policy.request_rate import count_request
from clients.deploy.site_settings import SiteSettings
from clients.local_objectives import LOCAL_OBJECTIVES
from fl.config.run_config import RunConfig
from fl.config.strategy_traits import strategy_traits
from fl.messages.job import Job
from fl.models import MODELS
from fl.privacy.differential_privacy.guarantee import is_private
from fl.privacy.egress_policy import SITE, PolicyRefusal, VersionMismatch


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a request asks for, beside the run's settings."""

    kind: str  # query, train or evaluate
    round: int = 1
    mu: float = 0.0  # weight of FedProx's term
    splits: tuple[str, ...] = ()  # on which the weights are evaluated


def require_permitted(asked: Asked, job: Job, settings: SiteSettings) -> None:
    """`PolicyRefusal` unless the site's policy permits the request."""
    folder = Path(settings.folder)
    # First: what another version asks for may mean something else here.
    require_same_version(job)
    policy = policy_of(folder)
    _require_names(job, folder)
    _require_run(job, policy)
    if not 1 <= asked.round <= job.config.rounds:
        raise PolicyRefusal("rounds", f"round {asked.round} of {job.config.rounds} is asked for")
    if not 0 <= asked.mu < math.inf:
        raise PolicyRefusal("names", f"FedProx's weight is {asked.mu!r}")
    for split in asked.splits:
        _require_one_of("split", split, policy.splits)
    if asked.kind == "train":
        _require_rate(folder, "trainings", policy.trainings_per_hour)
    elif asked.kind == "evaluate":
        _require_rate(folder, "evaluations", policy.evaluations_per_hour)
    for split in asked.splits or ("",):
        charge(folder, policy, job.run, job.config, asked.kind, split)


def require_same_version(job: Job) -> None:
    """`VersionMismatch` unless the coordinator runs this version of the program."""
    if job.version != fl.__version__:
        raise VersionMismatch(f"the coordinator has {job.version!r}, this site {fl.__version__!r}")


def _require_names(job: Job, folder: Path) -> None:
    """Every part of a request that becomes a path is a name that this program knows or makes."""
    if not SITE.fullmatch(job.run):
        raise PolicyRefusal(
            "names", f"the run's name is {job.run!r}; names have letters, digits, '-', '_'"
        )
    if job.config.strategy not in LOCAL_OBJECTIVES:
        raise PolicyRefusal("names", f"--strategy is {job.config.strategy!r}, which is unknown")
    if job.strategy != job.config.strategy:
        raise PolicyRefusal("names", f"{job.config.strategy} would be reported as {job.strategy!r}")
    if job.config.model not in MODELS:
        raise PolicyRefusal("names", f"--model is {job.config.model!r}, which is unknown")
    require_inside(folder, folder / "runs" / job.run)


def require_inside(folder: Path, path: Path) -> None:
    """`PolicyRefusal` unless a path, with every link followed, lies in the site's folder."""
    if not path.resolve().is_relative_to(folder.resolve()):
        raise PolicyRefusal("names", f"{path} leads out of {folder}")


def _require_run(job: Job, policy: SitePolicy) -> None:
    config = job.config
    _require_one_of("task", config.task, policy.tasks)
    _require_one_of("strategy", config.strategy, policy.strategies)
    for code, asked, most in (
        ("epochs", config.local_epochs, policy.most_epochs),
        ("epochs", config.finetune_epochs, policy.most_epochs),
        ("epochs", config.personal_epochs, policy.most_epochs),
        ("rounds", config.rounds, policy.most_rounds),
    ):
        if asked > most:
            raise PolicyRefusal(code, f"{asked} {code} are asked for; permitted: {most}")
    if config.batch_size < policy.smallest_batch:
        raise PolicyRefusal(
            "batch", f"--batch-size is {config.batch_size}; permitted: {policy.smallest_batch}"
        )
    if job.expected_sites < policy.fewest_sites:
        raise PolicyRefusal(
            "sites", f"the run has {job.expected_sites} sites; permitted: {policy.fewest_sites}"
        )
    if policy.privacy in ("secure-aggregation", "both") and not config.secure_aggregation:
        raise PolicyRefusal("privacy", "a run without --secure-aggregation is asked for")
    if policy.privacy in ("differential-privacy", "both") and not is_private(config):
        raise PolicyRefusal("privacy", "a run without --dp patient is asked for")
    # Noise hides how many records show a class.
    if takes_gradient_steps(config) and not is_private(config) and not policy.gradient_steps:
        raise PolicyRefusal(
            "gradient-steps",
            f"{config.strategy} with --optimizer {config.optimizer} takes plain gradient steps, "
            "from which counts of classes follow",
        )


def takes_gradient_steps(config: RunConfig) -> bool:
    """Whether an update is a sum of gradients, and not of what AdamW makes of them."""
    return config.optimizer == "sgd" or strategy_traits(config.strategy).plain_sgd


def _require_one_of(code: str, asked: str, permitted: list[str]) -> None:
    if asked not in permitted:
        raise PolicyRefusal(code, f"{code} {asked!r} is asked for; permitted: {permitted}")


def _require_rate(folder: Path, kind: str, most: int) -> None:
    if not count_request(folder, kind, most):
        raise PolicyRefusal(kind, f"{most} {kind} in an hour are permitted, and were made")
