"""The ServerApp as a SuperLink starts it: the simulation's, with its results written to files.

Flower sends a run's configuration to every site, so it holds only the name of a file at the
coordinator, which holds the rest.
"""

import os
import re
import time
from pathlib import Path
from typing import Any

from flwr.app import Context, UserConfig
from flwr.serverapp import Grid, ServerApp

from fl.ecg.tasks import TASKS
from fl.messages.job import Job
from fl.runs.results import RunSummary, write_summary
from fl.runs.run_record import RunRecord
from fl.util.errors import ConfigError, DataError, FederationError
from server.app import server_app
from server.deploy.audit.audited_grid import AuditedGrid
from server.deploy.audit.audited_run import AuditedListener, note_end, note_start
from server.deploy.audit.federation_log import federation_log, head_facts
from server.deploy.federation_store import FEDERATION, FederationFolder
from server.deploy.grids.packed_grid import PackedGrid
from server.deploy.grids.returning_grid import ReturningGrid
from server.deploy.progress import PROGRESS, ProgressWriter
from server.deploy.superlink_client import asks_directly, list_nodes
from server.rounds.training_results import TrainingResult

# Seconds between looks whether a SuperNode was started again. A `flwr` command takes seconds, and
# without undocumented names none is admitted again within a minute.
LOOK, LOOK_BY_COMMAND = 5.0, 60.0

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """One federated training of hospitals; its run directory is the simulation's."""
    job = read_job(str(context.run_config["job"]))
    folder = Path(job.workspace)
    began, classes = time.monotonic(), TASKS[job.config.task].classes
    federation = FederationFolder(Path(os.environ[FEDERATION]))
    log = federation_log(federation)
    note_start(log, job, context.run_id)

    def note(**facts: Any) -> None:
        RunRecord.read(folder).update(**facts)  # the command that started this writes there too

    def finished(result: TrainingResult) -> None:
        seconds = RunRecord.read(folder).content["seconds"]
        seconds["training"] = round(time.monotonic() - began, 3)
        note(seconds=seconds)
        write_results(folder, job.config.task, result)

    try:
        progress = ProgressWriter(folder / PROGRESS, classes, lambda sites: note(sites=sites))
        listener = AuditedListener(progress, log, job.run)
        audited = AuditedGrid(PackedGrid(grid), log, job.nodes, job.run, federation.public_keys())
        nodes = returning_grid(audited, federation)
        server_app(listener, finished)(nodes, context_for(job, context))
        note(status="completed", audit=head_facts(note_end(log, job, "completed")))
    except BaseException as error:
        expected = isinstance(error, (ConfigError, DataError, FederationError))
        output = str(error) if expected else f"{type(error).__name__}: {error}"
        head = head_facts(note_end(log, job, "failed", type(error).__name__))
        note(status="failed", error=output, audit=head)
        raise


def write_results(folder: Path, task: str, result: TrainingResult) -> None:
    """summary.json of a deployment's one training, and its failures in run.json."""
    RunRecord.read(folder).update(failures=result.failures)
    strategies = {result.name: result.summary}
    summary = RunSummary(
        task=task, synthetic=False, classes=TASKS[task].classes, strategies=strategies
    )
    write_summary(folder, summary)


def read_job(name: str) -> Job:
    """The run's settings from the coordinator's folder."""
    folder = os.environ.get(FEDERATION)
    if not folder or not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ConfigError(
            "This app is started by `python -m server.deploy run`, on a SuperLink that "
            "`python -m server.deploy serve` runs."
        )
    return Job.model_validate_json((Path(folder) / "jobs" / f"{name}.json").read_text())


def returning_grid(grid: Grid, folder: FederationFolder) -> ReturningGrid:
    """The grid, with an eye on SuperNodes that were started again since they were asked."""
    look = LOOK if asks_directly() else LOOK_BY_COMMAND
    return ReturningGrid(grid, lambda: {n.node: n.activated for n in list_nodes(folder)}, look)


def context_for(job: Job, context: Context) -> Context:
    """The context that the simulation's ServerApp reads."""
    context.run_config = UserConfig({"job": job.model_dump_json()})
    return context
