"""The ClientApp: one Flower client acts for one site, in simulation and in deployment alike."""

import torch  # noqa: F401  (workers must have torch loaded before Flower unpickles the app)
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from clients import fit
from fl import wire

app = ClientApp()


def _site(message: Message, context: Context) -> tuple[wire.Job, fit.Site]:
    job = wire.read_job(message)
    return job, fit.open_site(job, int(context.node_config["partition-id"]))


@app.query()
def query(message: Message, context: Context) -> Message:
    """Which site is this, and how much does it hold?"""
    _, site = _site(message, context)
    return wire.hello_reply(fit.hello(site), message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """One round's training on the site's own records."""
    job = wire.read_job(message)
    site = fit.open_trainee(job, int(context.node_config["partition-id"]))
    weights, control = wire.split_control(wire.read_weights(message))
    number, mu = wire.read_round(message), wire.read_mu(message)
    trained = fit.train_visit(site, job, weights, number, mu, control)
    return wire.trained_reply(trained, message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """How well the given weights do on the site's own records."""
    job, site = _site(message, context)
    split, thresholds = wire.read_split(message)
    weights, number = wire.read_weights(message), wire.read_round(message)
    evaluated = fit.evaluate_visit(site, job, weights, split, thresholds, number)
    return wire.evaluated_reply(evaluated, message)
