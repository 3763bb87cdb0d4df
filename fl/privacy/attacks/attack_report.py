"""attack.json: what attacks on a run have shown, in counts and rates; no patient is in it."""

import json
from pathlib import Path
from typing import Literal

from fl.privacy.attacks.success import Success
from fl.util.atomic_io import write_atomically
from fl.util.json_record import JsonRecord

ATTACK = "attack.json"
Target = Literal["final model", "own model", "update", "sum of updates"]
FINAL: Target = "final model"
OWN: Target = "own model"
UPDATE: Target = "update"
SUM: Target = "sum of updates"
# What is attacked, in the order of tables, and what an attacker must see for it.
TARGETS: dict[Target, str] = {
    FINAL: "the model of the best round, which every hospital receives",
    OWN: "a hospital's own model, which stays there",
    UPDATE: "one round's update of one hospital, as the coordinator sees it without secure "
    "aggregation: the weights that were sent and those that came back",
    SUM: "the same round's updates of all hospitals together: the global weights before and after, "
    "which is all that secure aggregation shows",
}
Attack = Literal["loss threshold", "fall of the loss", "LiRA", "LiRA, offline"]
LOSS: Attack = "loss threshold"
FALL: Attack = "fall of the loss"
ONLINE: Attack = "LiRA"
OFFLINE: Attack = "LiRA, offline"
ATTACKS = (LOSS, FALL, ONLINE, OFFLINE)
EVERY = ""  # the place of a row that is over all hospitals


class AttackRow(JsonRecord):
    """One attack on one thing that is shown, at one hospital or over all of them."""

    target: Target
    attack: Attack
    site: str  # EVERY: over all hospitals
    success: Success


class LeadMatch(JsonRecord):
    """How alike reconstructed and true signals of one lead are: medians over recordings."""

    recordings: int
    correlation: float
    shifted: float  # the highest over all shifts in time
    # The same figure of the reconstruction and other patients' signals: what chance gives.
    shifted_other: float


class Inversion(JsonRecord):
    """Recordings computed back from the gradient of one plain step over one recording each."""

    network: str
    weights: int
    steps: int
    recordings: int  # attacked, each of another training patient
    cosine: float  # median, of the gradients
    leads: dict[str, LeadMatch]


class ShadowFacts(JsonRecord):
    """The shadow models of LiRA, trained in one place on halves of the patients."""

    models: int  # of each target
    network: str
    epochs: int  # of those of the final model, from random weights
    round_epochs: int  # of those of a round's updates, from the weights before the round


class AttackReport(JsonRecord):
    """What attacks on one run have shown."""

    heartfed: str  # version
    task: str
    model: str
    strategy: str
    synthetic: bool
    round: int  # whose updates were attacked
    rounds: int  # of the run's settings
    delta: float
    per_patient: int  # most examples of a patient whose losses are averaged
    members: int  # training patients
    non_members: int  # validation and test patients of the same hospitals
    smallest: str  # the hospital with the fewest training patients
    rows: tuple[AttackRow, ...]
    shadows: ShadowFacts | None  # None: without LiRA
    inversion: Inversion | None
    not_measured: tuple[str, ...]  # each with its reason
    secure: bool = False  # under secure aggregation nobody saw a hospital's update

    def rows_at(self, site: str) -> tuple[AttackRow, ...]:
        """The rows of one hospital, or those over all, in the order of TARGETS and ATTACKS."""
        targets = list(TARGETS)
        return tuple(
            sorted(
                (row for row in self.rows if row.site == site),
                key=lambda row: (targets.index(row.target), ATTACKS.index(row.attack)),
            )
        )


def write_attack(folder: Path, report: AttackReport) -> Path:
    """Write attack.json of a run directory, whole or not at all; its path."""
    path = folder / ATTACK
    write_atomically(path, (json.dumps(report.to_json(), indent=1) + "\n").encode())
    return path
