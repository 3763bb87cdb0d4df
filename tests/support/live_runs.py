"""Run directories that a test writes round by round, as a run does."""

import json
from contextlib import contextmanager
from pathlib import Path

from fl.evaluation.group_evaluation import Estimate
from fl.evaluation.metrics import ClassMeasures
from fl.runs.history_tables import SiteRow, write_history_tables
from fl.runs.results import RunSummary, SiteMean, TrainingSummary, write_summary
from fl.runs.run_lock import run_lock
from fl.util.atomic_io import write_atomically
from support.history_rows import round_row
from support.site_measures import measures

CONFIG = {
    "task": "rhythm",
    "strategy": "fedavg",
    "compare": "",
    "rounds": 3,
    "clients": 2,
    "workers": 1,
    "patience": 0,
    "engine": "ray",
    "seed": 0,
}
SITES = ("site-1", "site-2")


class LiveRun:
    """A run directory; `round` writes one more line as a run does."""

    def __init__(self, folder: Path, **config) -> None:
        self.folder, self.rounds, self.sites = folder, [], []
        folder.mkdir(parents=True)
        self.facts = {
            "status": "running",
            "started": "2026-01-02T03:04:05+00:00",
            "command": ["run_sim.py"],
            "config": CONFIG | config,
            "engine": "ray",
            "synthetic": ["synthetic"],
            "failures": [],
            "data": [{"source": "synthetic"}],
            "sites": [{"site": site} for site in SITES],
        }
        self.write()

    def write(self, **facts) -> None:
        self.facts |= facts
        write_atomically(self.folder / "run.json", json.dumps(self.facts).encode())

    @contextmanager
    def held(self):
        """As while a process works in it."""
        with run_lock(self.folder):
            yield self

    def round(self, **changed) -> None:
        number = sum(not row.averaged for row in self.rounds) + 1
        row = round_row(**{"round": number, "seconds": 4.0, "val_loss": 0.5 / number} | changed)
        self.rounds.append(row)
        self.sites += [
            SiteRow(
                strategy=row.strategy,
                round=row.round,
                site=site,
                split="val",
                n_records=7,
                loss=0.4,
                macro_f1=0.3,
                macro_auroc=0.8,
            )
            for site in SITES
        ]
        write_history_tables(self.folder, self.rounds, self.sites)

    def checkpoint(self, strategy: str, failures: list[dict]) -> None:
        """A checkpoint's state, with what its sites failed at."""
        folder = self.folder / "checkpoint" / strategy / f"{len(self.rounds):06d}-validated"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "state.json").write_text(json.dumps({"state": {"failures": failures}}))

    def complete(self) -> None:
        """The run ends well, with a macro-F1 of .612 [.5, .7] and one class."""
        one = dict.fromkeys(ClassMeasures.model_fields, 0.5)
        counts = {"n": 9, "positive": 4, "patients": 9, "positive_patients": 4}
        central = measures(0.4).model_copy(
            update={
                "macro_f1": Estimate(value=0.612, low=0.5, high=0.7),
                "classes": {"AF": ClassMeasures(**(one | counts))},
            }
        )
        training = TrainingSummary(
            central=central,
            unseen=None,
            sites={},
            thresholds=None,
            best_round=1,
            worst_site=None,
            site_mean=SiteMean(macro_f1=0.55, macro_auroc=None),
            spread=None,
        )
        strategies = {self.facts["config"]["strategy"]: training}
        write_summary(
            self.folder,
            RunSummary(task="rhythm", synthetic=True, classes=("AF",), strategies=strategies),
        )
        self.write(status="completed")
