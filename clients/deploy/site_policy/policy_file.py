"""The site policy: a file at the hospital that says what a coordinator may ask.

It is read at every request, so that a change counts at once. A file that cannot be used refuses
every request: what was meant to be forbidden is not known.
"""

import json
import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fl.privacy.audit_log.log_file import KEEP_DAYS, MOST_DAYS
from fl.privacy.egress_policy import PolicyRefusal
from fl.util.atomic_io import write_atomically
from fl.util.errors import ConfigError

POLICY = "site_policy.toml"  # in the site's folder
# All but scaffold, whose sites take plain gradient steps: `gradient_steps` is about them.
PERMITTED = (
    *("fedavg", "fedprox", "fedavgm", "fedadagrad", "fedadam", "fedyogi", "fedmedian"),
    *("fedtrimmedavg", "fedbn", "finetune", "personal", "map-head", "krum"),
)


class SitePolicy(BaseModel):
    """What a coordinator may ask. The defaults permit every honest run of the documentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    tasks: list[str] = Field(description="tasks that may be trained")
    strategies: list[str] = Field(default=list(PERMITTED), description="values of --strategy")
    splits: list[str] = Field(
        default=["val", "test"], description="splits on which a model may be evaluated"
    )
    most_epochs: int = Field(default=20, ge=1, description="epochs of one round")
    most_rounds: int = Field(default=500, ge=1, description="rounds of one run")
    trainings_per_hour: int = Field(
        default=1500,
        ge=0,
        description="requests to train, each of which may validate the weights first",
    )
    evaluations_per_hour: int = Field(default=30, ge=0, description="requests to evaluate alone")
    smallest_batch: int = Field(default=4, ge=1, description="examples of one gradient step")
    fewest_sites: int = Field(
        default=2,
        ge=1,
        description="sites of a run, as the coordinator says; under secure aggregation they are "
        "counted by their signed keys, else it cannot be checked here",
    )
    gradient_steps: bool = Field(
        default=False,
        description="whether a run may use --optimizer sgd, or scaffold: from their updates the "
        "coordinator can compute how many records show each class, also where --min-count "
        "withholds it",
    )
    privacy: Literal["none", "secure-aggregation", "differential-privacy", "both"] = Field(
        default="none",
        description="protection that every run must have; secure-aggregation: the coordinator "
        "learns the sum over the hospitals alone; differential-privacy: --dp patient "
        "(docs/privacy.md)",
    )
    epsilon_budget: float = Field(
        default=0.0,
        ge=0,
        description="epsilon that all runs together may spend of each patient's privacy; a run "
        "that would not fit is refused before it trains, and so is every run without --dp "
        "patient; 0: no budget",
    )
    delta_budget: float = Field(
        default=1e-4, ge=0, lt=1, description="the same of delta; it counts with epsilon_budget"
    )
    audit_required: bool = Field(
        default=True,
        description="whether a request is refused that the audit log cannot record, on a full disk "
        "say; false: it is answered, and the site's log has a warning",
    )
    audit_keep_days: int = Field(
        default=KEEP_DAYS,
        ge=0,
        le=MOST_DAYS,
        description="days after which a file of the audit log is removed, which the log then "
        "states; 0: never",
    )


def write_policy(path: Path, task: str) -> None:
    """The defaults for one task, each with what it means, for people to change."""
    values = SitePolicy(tasks=[task]).model_dump()
    lines = ["# What the coordinator may ask of this hospital. Read at every request; a request"]
    lines += ["# that this does not permit is refused and logged.", ""]
    for name, field in SitePolicy.model_fields.items():
        lines += [f"# {field.description}", f"{name} = {json.dumps(values[name])}", ""]
    write_atomically(path, "\n".join(lines).encode())


def read_policy(path: Path) -> SitePolicy:
    """The policy in a file; `ConfigError` names the file and what is wrong with it."""
    try:
        return SitePolicy.model_validate(tomllib.loads(path.read_text()))
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        reason = f"is no TOML ({error})"
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        found = "missing" if first["type"] == "missing" else repr(first["input"])
        reason = f"{name} is {found}: {first['msg'][0].lower()}{first['msg'][1:]}"
    raise ConfigError(
        f"{path}: {reason}. Until it is mended every request is refused. `python -m clients.deploy "
        "init` writes one with the defaults where there is none."
    )


def policy_of(folder: Path) -> SitePolicy:
    """The policy in a site's folder; `PolicyRefusal` if it cannot be used."""
    try:
        return read_policy(folder / POLICY)
    except ConfigError as error:
        raise PolicyRefusal("policy-file", str(error)) from None
