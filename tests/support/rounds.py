"""A training in this process, watched."""

import csv
import hashlib
from pathlib import Path

from flwr.app import Context, RecordDict
from flwr.app.user_config import UserConfig

from clients.app import app as client_app
from fl.training.state_dict import load_weights
from server.app import SilentListener, server_app
from server.engines.in_process import LocalGrid


class Watching(SilentListener):
    """A listener that keeps each round's row and each failure."""

    def __init__(self):
        self.rows, self.failed = [], []

    def site(self, round_number, site, doing, note):
        if doing == "failed":
            self.failed.append((round_number, site, note))

    def round(self, row):
        self.rows.append(row)


def digest(job):
    """SHA-256 over the names and values of a training's last weights."""
    weights = load_weights(Path(job.workspace) / "weights" / f"{job.strategy}-last.safetensors")
    total = hashlib.sha256()
    for name in sorted(weights):
        total.update(name.encode() + weights[name].tobytes())
    return total.hexdigest()


def run(job, client=client_app, grid=LocalGrid):
    """One training in this process: what the listener saw, and the summary."""
    watching, summaries = Watching(), []
    app = server_app(watching, lambda result: summaries.append(result.summary))
    settings = UserConfig({"job": job.model_dump_json()})
    context = Context(
        run_id=1, node_id=1, node_config=UserConfig(), state=RecordDict(), run_config=settings
    )
    app(grid(client, job.config.clients), context)
    return watching, summaries[0]


def read_table(job, name):
    """Lines of a table of the run directory."""
    with (Path(job.workspace) / name).open(newline="") as file:
        return list(csv.DictReader(file))


def history(job):
    """Both tables, without the seconds, which differ from run to run."""
    tables = ("rounds.csv", "sites.csv")
    return [[row | {"seconds": ""} for row in read_table(job, name)] for name in tables]
