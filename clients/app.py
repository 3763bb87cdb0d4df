"""The ClientApp: one Flower client acts for one site, in simulation and in deployment alike."""

import logging
from collections.abc import Callable

import torch  # noqa: F401  (workers must have torch loaded before Flower unpickles the app)
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from clients.deploy import deployed_site
from clients.deploy.site_settings import SiteSettings, is_deployed
from clients.local_training import evaluate_site, site_info, site_test, train_site
from clients.simulated_sites import Site, open_site, open_trainee
from fl.messages.flower_arrays import packed, split_extra, unpacked
from fl.messages.flower_codec import (
    check_egress,
    evaluation_reply,
    failure_reply,
    read_job,
    read_mu,
    read_round,
    read_split,
    read_validate_first,
    read_weights,
    site_info_reply,
    training_reply,
)
from fl.messages.job import Job
from fl.training.device import one_thread
from partitions.splits import TEST, VAL


def egress_guard(
    message: Message, context: Context, answer: Callable[[Message, Context], Message]
) -> Message:
    """Answer a request; a hospital's reply is checked against the list of what may leave.

    Why a request failed stays in the hospital's own log.
    """
    if not is_deployed(context.node_config):
        return answer(message, context)
    try:
        reply = answer(unpacked(message), context)
        check_egress(reply, message)
        return packed(reply)
    except Exception as error:
        logging.getLogger("heartfed").error("a request failed", exc_info=error)
        return failure_reply(error, message)


app = ClientApp(mods=[egress_guard])


def _site(message: Message, context: Context) -> tuple[Job, Site]:
    job = read_job(message)
    if is_deployed(context.node_config):
        settings = SiteSettings.from_node(context.node_config)
        one_thread()
        site = deployed_site.open_site(job, settings)
        return deployed_site.with_site_device(job, settings), site
    return job, open_site(job, int(context.node_config["partition-id"]))


@app.query()
def query(message: Message, context: Context) -> Message:
    """Which site is this, and how much does it hold?"""
    _, site = _site(message, context)
    return site_info_reply(site_info(site), message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """One round's training on the site's own records; if asked, it first validates the weights."""
    job, site = _site(message, context)
    if not is_deployed(context.node_config):
        site = open_trainee(job, int(context.node_config["partition-id"]))
    weights, extra = split_extra(read_weights(message))
    number, mu = read_round(message), read_mu(message)
    validation = None
    if read_validate_first(message):
        validation = evaluate_site(site, job, weights, VAL, None, number - 1)
    trained = train_site(site, job, weights, number, mu, extra)
    return training_reply(trained, message, validation)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """How well the given weights do on the site's own records."""
    job, site = _site(message, context)
    split, rule = read_split(message)
    weights, number = read_weights(message), read_round(message)
    if split != TEST or rule is None:
        evaluated = evaluate_site(site, job, weights, split, rule, number)
    else:
        tested = site_test(site, job, weights, rule, number)
        evaluated = tested.reply
        if is_deployed(context.node_config) and len(site.splits[TEST]):
            settings = SiteSettings.from_node(context.node_config)
            deployed_site.write_site_report(site, settings, job, tested.rule, number, weights)
    if is_deployed(context.node_config):
        evaluated = deployed_site.permitted_evaluation(evaluated)
    return evaluation_reply(evaluated, message)
