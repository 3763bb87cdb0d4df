"""The ClientApp: one Flower client acts for one site, in simulation and in deployment alike."""

import logging

import torch  # noqa: F401  (workers must have torch loaded before Flower unpickles the app)
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable

from clients import fit, hospital
from clients.own import Hospital, is_hospital
from fl import wire
from fl.training import one_thread
from partitions.splits import TEST, VAL


def guarded(message: Message, context: Context, visit: ClientAppCallable) -> Message:
    """What a hospital sends is held against the list; why a visit failed stays in its own log."""
    if not is_hospital(context.node_config):
        return visit(message, context)
    try:
        reply = visit(wire.unfolded(message), context)
        wire.refuse_unlisted(reply, message)
        reply = wire.folded(reply)
    except Exception as error:
        logging.getLogger("heartfed").error("a visit failed", exc_info=error)
        return wire.failed_reply(error, message)
    return reply


app = ClientApp(mods=[guarded])


def _site(message: Message, context: Context) -> tuple[wire.Job, fit.Site]:
    job = wire.read_job(message)
    if is_hospital(context.node_config):
        own = Hospital.from_node(context.node_config)
        one_thread()
        return hospital.own_device(job, own), hospital.open_site(job, own)
    return job, fit.open_site(job, int(context.node_config["partition-id"]))


@app.query()
def query(message: Message, context: Context) -> Message:
    """Which site is this, and how much does it hold?"""
    _, site = _site(message, context)
    return wire.hello_reply(fit.hello(site), message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """One round's training on the site's own records; if asked, it first measures the weights."""
    job, site = _site(message, context)
    if not is_hospital(context.node_config):
        site = fit.open_trainee(job, int(context.node_config["partition-id"]))
    weights, control = wire.split_control(wire.read_weights(message))
    number, mu = wire.read_round(message), wire.read_mu(message)
    measured = None
    if wire.read_measure(message):
        measured = fit.evaluate_visit(site, job, weights, VAL, None, number - 1)
    trained = fit.train_visit(site, job, weights, number, mu, control)
    return wire.trained_reply(trained, message, measured)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """How well the given weights do on the site's own records."""
    job, site = _site(message, context)
    split, thresholds = wire.read_split(message)
    weights, number = wire.read_weights(message), wire.read_round(message)
    evaluated = fit.evaluate_visit(site, job, weights, split, thresholds, number)
    if is_hospital(context.node_config):
        if split == TEST and len(site.splits[TEST]):
            own = Hospital.from_node(context.node_config)
            hospital.write_own_report(site, own, job, thresholds, number)
        evaluated = hospital.for_the_coordinator(evaluated)
    return wire.evaluated_reply(evaluated, message)
