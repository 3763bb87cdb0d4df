"""The privacy budget of a hospital's patients over all runs, kept in its own folder.

A run spends the larger of what its training and its validation spend, as a patient is in one of
the two. Over runs, in which a patient may be in either, what they spend is added up. A round that
is asked for again has new noise and is charged again. What will be spent is written before a
recording is read.
"""

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from clients.deploy.site_policy.policy_file import SitePolicy
from fl.config.run_config import RunConfig
from fl.privacy.differential_privacy.guarantee import SLACK, is_private, spent_epsilon
from fl.privacy.egress_policy import PolicyRefusal
from fl.util.errors import ConfigError
from fl.util.private_files import FILE
from partitions.splits import VAL

LEDGER = "privacy-budget.json"


class SpentByRun(BaseModel):
    """What one run has asked of the site's patients so far."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: dict[str, Any]  # those that decide what a round spends
    delta: float
    rounds: int = 0  # rounds of training; one that was done twice counts twice
    validations: int = 0
    epsilon: float = 0.0  # spent so far

    @property
    def spent_delta(self) -> float:
        """Of the training, or of all validations, whichever is more; 0 before anything is spent."""
        return self.delta * max(1, self.validations) if self.epsilon else 0.0


Ledger = Mapping[str, SpentByRun]  # by the run's name
SETTINGS = ("noise_multiplier", "sample_rate", "local_epochs", "secure_aggregation", "delta")


def charge(
    folder: Path, policy: SitePolicy, run: str, config: RunConfig, kind: str, split: str
) -> None:
    """Write what a request will spend; `PolicyRefusal` if the budget or the noise is too small.

    A request to train is refused before the first round if the whole run would not fit.
    """
    if policy.epsilon_budget and not is_private(config):
        raise PolicyRefusal("budget", "a run without --dp patient has no epsilon to be charged")
    if not is_private(config):
        return
    _require_promise(config)
    trains, validates = kind == "train", kind == "evaluate" and split == VAL
    if not trains and not validates:
        return
    handle = os.open(folder / LEDGER, os.O_RDWR | os.O_CREAT, FILE)
    with os.fdopen(handle, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        ledger = _parsed(folder / LEDGER, file.read())
        one = _of_run(ledger, run, config)
        after = one.model_copy(
            update={
                "rounds": one.rounds + trains,
                "validations": one.validations + validates,
            }
        )
        # With all rounds that are still to come, so that no run is stopped in the middle.
        to_come = max(config.rounds, after.rounds)
        whole = after.model_copy(
            update={"rounds": to_come, "validations": max(1, after.validations)}
        )
        others = [spent for name, spent in ledger.items() if name != run]
        _require_budget(policy, others, _epsilon(whole, config), whole.delta * whole.validations)
        after = after.model_copy(update={"epsilon": _epsilon(after, config)})
        text = json.dumps(
            {name: spent.model_dump() for name, spent in ({**ledger, run: after}).items()}, indent=1
        )
        file.seek(0)
        file.truncate()
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def spent_budget(folder: Path) -> tuple[float, float]:
    """(epsilon, delta) that all runs together have spent."""
    ledger = read_ledger(folder)
    deltas = sum(spent.spent_delta for spent in ledger.values())
    return sum(spent.epsilon for spent in ledger.values()), deltas


def read_ledger(folder: Path) -> Ledger:
    """What each run has spent; `PolicyRefusal` if the file cannot be read."""
    path = folder / LEDGER
    return _parsed(path, path.read_text() if path.exists() else "")


def _require_promise(config: RunConfig) -> None:
    """`PolicyRefusal` unless the noise keeps the epsilon that the run's settings name."""
    try:
        spent = spent_epsilon(config)
    except ConfigError as error:
        raise PolicyRefusal("privacy", str(error)) from None
    if spent > config.epsilon * (1 + SLACK):
        raise PolicyRefusal(
            "privacy",
            f"noise of {config.noise_multiplier:g} spends an epsilon of {spent:.4g}, and the run "
            f"promises {config.epsilon:g}",
        )


def _require_budget(
    policy: SitePolicy, others: list[SpentByRun], epsilon: float, delta: float
) -> None:
    if not policy.epsilon_budget:
        return
    before = sum(spent.epsilon for spent in others)
    deltas = sum(spent.spent_delta for spent in others)
    for name, used, asked, most in (
        ("epsilon", before, epsilon, policy.epsilon_budget),
        ("delta", deltas, delta, policy.delta_budget),
    ):
        if used + asked > most * (1 + SLACK):
            raise PolicyRefusal(
                "budget",
                f"the run would spend {name} {asked:.4g}; {used:.4g} of {most:g} is spent "
                f"({name}_budget in the policy)",
            )


def _of_run(ledger: Ledger, run: str, config: RunConfig) -> SpentByRun:
    """What the run has spent; `PolicyRefusal` if it goes on with other settings."""
    settings = {name: getattr(config, name) for name in SETTINGS}
    found = ledger.get(run)
    if found is None:
        return SpentByRun(settings=settings, delta=float(config.delta))
    if found.settings != settings:
        raise PolicyRefusal("privacy", f"{run} goes on with other noise than it began with")
    return found


def _epsilon(spent: SpentByRun, config: RunConfig) -> float:
    """The larger of training's and validation's."""
    return max(spent_epsilon(config, spent.rounds), spent.validations * config.epsilon)


def _parsed(path: Path, text: str) -> Ledger:
    try:
        found = json.loads(text or "{}")
        return {str(run): SpentByRun.model_validate(spent) for run, spent in found.items()}
    except (ValueError, AttributeError, ValidationError) as error:
        raise PolicyRefusal(
            "budget",
            f"{path}: it cannot be read ({type(error).__name__}), so what is spent is not known. "
            "Restore it from a backup.",
        ) from None
