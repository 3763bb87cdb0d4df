"""The ServerApp as a SuperLink starts it: the simulation's, with its results kept in files.

Flower tells every site a run's configuration, so it holds only the name of a file here, which
holds the rest.
"""

import json
import os
import re
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fl.ecg.tasks import TASKS
from fl.messages.job import Job
from fl.messages.payloads import SiteInfo
from fl.runs.history_tables import RoundRow
from fl.runs.results import RunSummary, write_summary
from fl.runs.run_record import RunRecord
from fl.util.errors import ConfigError, DataError, FederationError
from server.app import server_app
from server.deploy.federation_store import FEDERATION, PROGRESS
from server.deploy.packed_grid import PackedGrid
from server.rounds.training_results import TrainingResult

app = ServerApp()


class ProgressWriter:
    """A listener that writes what it is told, a line each, for `deploy run` to show."""

    def __init__(self, path: Path, classes: Sequence[str]) -> None:
        self._path, self._unknown = path, dict.fromkeys(classes)
        self.sites: list[dict[str, Any]] = []  # rows of run.json

    def training(self, strategy: str, rounds: int, sites: Sequence[SiteInfo]) -> None:
        self.sites = [
            {"site": s.site, "train": s.n_train, "val": s.n_val, "test": s.n_test}
            # What a hospital does not tell of itself.
            | {"sources": [], "groups": [], "patients": None, "labels": self._unknown}
            for s in sites
        ]
        self._tell("training", strategy, rounds, [asdict(site) for site in sites])

    def site(self, round_number: int, site: str, doing: str, note: str) -> None:
        self._tell("site", round_number, site, doing, note)

    def round(self, row: RoundRow) -> None:
        self._tell("round", asdict(row))

    def baseline_round(self, site: str, row: RoundRow, last: bool) -> None:
        """Hospitals do not train alone here: a comparison needs their records in one place."""

    def _tell(self, what: str, *given: object) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps([what, *given]) + "\n")


@app.main()
def main(grid: Grid, context: Context) -> None:
    """One federated training of hospitals; its run directory is the simulation's."""
    job = read_job(str(context.run_config["job"]))
    folder = Path(job.workspace)
    classes = TASKS[job.config.task].classes
    record, told = RunRecord.read(folder), ProgressWriter(folder / PROGRESS, classes)
    began = time.monotonic()

    def finished(part: TrainingResult) -> None:
        record.content["failures"] = part.failures
        record.content["seconds"]["training"] = round(time.monotonic() - began, 3)
        summary = RunSummary(
            task=job.config.task,
            synthetic=False,
            classes=classes,
            strategies={job.strategy: part.summary},
        )
        write_summary(folder, summary)

    try:
        server_app(told, finished)(PackedGrid(grid), context_for(job, context))
        record.update(status="completed", sites=told.sites)
    except BaseException as error:
        expected = isinstance(error, (ConfigError, DataError, FederationError))
        output = str(error) if expected else f"{type(error).__name__}: {error}"
        record.update(status="failed", error=output)
        raise


def read_job(name: str) -> Job:
    """The run's settings from the coordinator's folder."""
    folder = os.environ.get(FEDERATION)
    if not folder or not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ConfigError(
            "This app is started by `python -m server.deploy run`, on a SuperLink that "
            "`python -m server.deploy serve` runs."
        )
    return Job.model_validate_json((Path(folder) / "jobs" / f"{name}.json").read_text())


def context_for(job: Job, context: Context) -> Context:
    """The context that the simulation's ServerApp reads."""
    context.run_config = type(context.run_config)({"job": job.model_dump_json()})
    return context
