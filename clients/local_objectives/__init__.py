"""The sites' half of every strategy: what a site does for it beside plain training.

A new strategy is one line here and one in `server/aggregation/strategies.py`.
"""

from clients.local_objectives.base import LocalObjective
from clients.local_objectives.fedprox import fedprox_penalty, fedprox_pull
from clients.local_objectives.scaffold import scaffold_extra, scaffold_penalty
from clients.personalization.finetune import finetune

LOCAL_OBJECTIVES: dict[str, LocalObjective] = {
    "fedavg": LocalObjective(),
    "fedprox": LocalObjective(penalty=fedprox_penalty, pull=fedprox_pull),
    "fedavgm": LocalObjective(),
    "fedadagrad": LocalObjective(),
    "fedadam": LocalObjective(),
    "fedyogi": LocalObjective(),
    "fedmedian": LocalObjective(),
    "fedtrimmedavg": LocalObjective(),
    # A site's own normalisation layers are a trait: fl/config/strategy_traits.py.
    "fedbn": LocalObjective(),
    "scaffold": LocalObjective(penalty=scaffold_penalty, extra=scaffold_extra),
    "finetune": LocalObjective(before_test=finetune),
    "krum": LocalObjective(),
}
