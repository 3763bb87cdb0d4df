"""The ServerApp as a SuperLink starts it: the simulation's, with its results written to files.

Flower sends a run's configuration to every site, so it holds only the name of a file at the
coordinator, which holds the rest.
"""

import os
import re
import time
from pathlib import Path

from flwr.app import Context, UserConfig
from flwr.serverapp import Grid, ServerApp

from fl.ecg.tasks import TASKS
from fl.messages.job import Job
from fl.runs.results import RunSummary, write_summary
from fl.runs.run_record import RunRecord
from fl.util.errors import ConfigError, DataError, FederationError
from server.app import server_app
from server.deploy.federation_store import FEDERATION
from server.deploy.packed_grid import PackedGrid
from server.deploy.progress import PROGRESS, ProgressWriter
from server.rounds.training_results import TrainingResult

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """One federated training of hospitals; its run directory is the simulation's."""
    job = read_job(str(context.run_config["job"]))
    folder = Path(job.workspace)
    classes = TASKS[job.config.task].classes
    record, progress = RunRecord.read(folder), ProgressWriter(folder / PROGRESS, classes)
    began = time.monotonic()

    def finished(result: TrainingResult) -> None:
        record.content["failures"] = result.failures
        record.content["seconds"]["training"] = round(time.monotonic() - began, 3)
        summary = RunSummary(
            task=job.config.task,
            synthetic=False,
            classes=classes,
            strategies={job.strategy: result.summary},
        )
        write_summary(folder, summary)

    try:
        server_app(progress, finished)(PackedGrid(grid), context_for(job, context))
        record.update(status="completed", sites=progress.sites)
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
    context.run_config = UserConfig({"job": job.model_dump_json()})
    return context
