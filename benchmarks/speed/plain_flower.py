"""The same federation as in Flower's quickstart: Flower's FedAvg and its simulation engine.

A network is built for every request, the optimizer starts without state, and nothing is stored or
validated. Network, records and splits are those of the other engines. Training and validation are
either those of HeartFed, so that only the federation differs, or written plainly too
(`plain_training.py`), as a user who follows the quickstart would write them.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from benchmarks.speed.engine_run import count_steps
from benchmarks.speed.plain_training import PlainResLSTM, records_of, validate
from benchmarks.speed.plain_training import train as train_plainly
from clients.simulated_sites import Site, open_site, sites_of
from clients.training_plan import training_plan
from fl.ecg.tasks import TASKS
from fl.messages.flower_arrays import from_array_record
from fl.messages.job import Job
from fl.models import build_network
from fl.training.loop import fit as train_on
from fl.training.loop import predict
from fl.training.losses import mean_loss
from fl.training.state_dict import save_weights, set_weights
from partitions.splits import TRAIN, VAL
from server.app import initial_weights
from server.engines.ray_workers import n_workers

client_app = ClientApp()


def _opened(message: Message, context: Context) -> tuple[Job, Site, Any]:
    """The request's job, site and network, with the weights of the request."""
    job = Job.model_validate_json(str(message.content["config"]["job"]))
    site = open_site(job, int(context.node_config["partition-id"]))
    network = build_network(job.config.model, TASKS[job.config.task])
    if message.content["config"]["plain"]:
        network = PlainResLSTM()
    network.load_state_dict(message.content["arrays"].to_torch_state_dict())
    return job, site, network


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """Train on the site's records."""
    job, site, network = _opened(message, context)
    number, loss, own = int(str(message.content["config"]["server-round"])), 0.0, site.splits[TRAIN]
    if message.content["config"]["plain"]:
        for _ in range(job.config.local_epochs):
            total = train_plainly(network, records_of(own), job.config.batch_size, job.config.lr)
            loss = total / len(own)
    elif not message.content["config"]["idle"]:
        fitted = train_on(network, own, training_plan(job.config, site.name, number))
        loss = fitted.loss_sum / fitted.n_seen
        count_steps(job, site.name, fitted.steps)
    metrics = MetricRecord({"train_loss": loss, "num-examples": len(site.splits[TRAIN])})
    content = {"arrays": ArrayRecord(network.state_dict()), "metrics": metrics}
    return Message(content=RecordDict(content), reply_to=message)


@client_app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Validate on the site's records."""
    _, site, network = _opened(message, context)
    val, loss = site.splits[VAL], 0.0
    if len(val) and message.content["config"]["plain"]:
        loss = validate(network, records_of(val), 64)
    elif len(val) and not message.content["config"]["idle"]:
        loss = mean_loss(val.task, val.labels, predict(network, val))
    metrics = MetricRecord({"eval_loss": loss, "num-examples": max(1, len(val))})
    return Message(content=RecordDict({"metrics": metrics}), reply_to=message)


class TimedFedAvg(FedAvg):
    """Flower's FedAvg; records when each round begins."""

    moments: Any

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The training requests of a round."""
        (self.moments.training if server_round == 1 else self.moments.round)()
        return super().configure_train(server_round, arrays, config, grid)


def run(job: Job, idle: bool, moments: Any, plain: bool) -> None:
    """Run all rounds; with `plain`, training and validation are written plainly too."""
    server_app, n_sites = ServerApp(), len(sites_of(job))

    @server_app.main()
    def main(grid: Grid, context: Context) -> None:
        network = build_network(job.config.model, TASKS[job.config.task])
        set_weights(network, initial_weights(job))
        strategy = TimedFedAvg(fraction_train=1.0, fraction_evaluate=1.0)
        strategy.moments = moments
        settings = {"job": job.model_dump_json(), "idle": idle, "plain": plain}
        result = strategy.start(
            grid=grid,
            initial_arrays=ArrayRecord(network.state_dict()),
            train_config=ConfigRecord(dict(settings)),
            evaluate_config=ConfigRecord(dict(settings)),
            num_rounds=job.config.rounds,
        )
        moments.round()
        last = Path(job.workspace) / "weights" / f"{job.strategy}-last.safetensors"
        save_weights(last, from_array_record(result.arrays))
        if len(result.train_metrics_clientapp) < job.config.rounds:
            raise RuntimeError("a round has no result")
        moments.finished()

    # One core for each client, as in HeartFed; Flower's default is two.
    backend: Any = {
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
        "init_args": {"num_cpus": n_workers(job.config, n_sites)},
    }
    run_simulation(server_app, client_app, num_supernodes=n_sites, backend_config=backend)
