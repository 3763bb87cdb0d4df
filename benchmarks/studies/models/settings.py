"""The settings of the study: written before its runs, the same for every network of a task."""

from dataclasses import dataclass

from fl.ecg.tasks import TASKS
from fl.models import MODELS, check_model
from fl.util.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """How all networks of one task are trained."""

    rounds: int
    local_epochs: int  # passes in each round
    per_recording: int  # most examples of a recording in a pass; 0: all
    random_split: bool  # whether the literature also splits the task's examples at random
    clients: int = 8

    @property
    def passes(self) -> int:
        """Passes over each site's training examples."""
        return self.rounds * self.local_epochs


SETTINGS = {
    "rhythm": TaskSettings(rounds=6, local_epochs=2, per_recording=10, random_split=False),
    "beat": TaskSettings(rounds=8, local_epochs=1, per_recording=400, random_split=True),
    "beat7": TaskSettings(rounds=4, local_epochs=1, per_recording=200, random_split=True),
    "mi": TaskSettings(rounds=10, local_epochs=3, per_recording=0, random_split=False, clients=4),
    "mi-12lead": TaskSettings(
        rounds=5, local_epochs=2, per_recording=0, random_split=False, clients=4
    ),
}
STRATEGIES = ("fedavg", "fedprox")
# Made for a GPU: an epoch takes many times as long as with the network of the same kind.
LEFT_OUT = frozenset({"resnet1d_large", "cnn2d_large"})


def networks_of(task: str) -> list[str]:
    """The networks that can be used for a task, without those made for a GPU."""
    return [name for name in MODELS if name not in LEFT_OUT and _usable(name, task)]


def _usable(name: str, task: str) -> bool:
    try:
        check_model(name, TASKS[task])
    except ConfigError:
        return False
    return True


def flags(task: str, model: str, seed: int) -> list[str]:
    """The flags of `run_sim.py` for one network, without the folders of a machine."""
    settings = SETTINGS[task]
    return [
        *("--task", task, "--model", model, "--clients", str(settings.clients)),
        *("--compare", ",".join(STRATEGIES), "--seed", str(seed), "--site-folds", "0"),
        *("--rounds", str(settings.rounds), "--local-epochs", str(settings.local_epochs)),
        *("--per-recording", str(settings.per_recording)),
        *(("--rhythm-features", "none") if task == "rhythm" else ()),  # the networks alone
    ]
