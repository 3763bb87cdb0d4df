"""Predictions of several small sites with batches of the network that they share.

In a simulation of many sites a worker answers several of them in one call, and all are sent the
same weights. A site with few records is predicted in batches of `SHARED_BATCH` alone, whether
others share them or not: so its answer has the same bits, whichever sites are in the call.
"""

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar

import numpy as np
from flwr.app import Context, Message, MessageType
from torch import nn

from clients.local_training import network_for
from clients.simulated_sites import Site, open_site
from clients.validation_reply import Probabilities
from fl.config.run_config import LOCAL, POOLED
from fl.config.strategy_traits import strategy_traits
from fl.data.cohort import Cohort
from fl.messages.flower_arrays import split_extra
from fl.messages.flower_codec import read_job, read_split, read_validate_first, read_weights
from fl.messages.job import Job
from fl.training.loop import predict
from fl.training.state_dict import Weights, local_entries, set_weights
from partitions.splits import TEST, VAL

# Examples of a batch. torch's products of matrices take other ways for fewer rows, and some of
# these give a row other bits at another place; of 32 rows, every network here gives each row the
# same bits at every place (`tests/clients/test_shared_prediction.py`).
SHARED_BATCH = 32
FEW_EXAMPLES = 32  # a site with more has batches of its own

# By site and split, while a call is answered.
_predicted: ContextVar[Mapping[tuple[str, str], Probabilities]] = ContextVar("predicted")


def predict_split(network: nn.Module, site: Site, split: str, job: Job) -> Probabilities:
    """Probabilities (example, class) of a split of a site's records, by the weights loaded."""
    cohort = site.splits[split]
    if _is_small(job, cohort):
        return predict(network, cohort, batch_size=SHARED_BATCH, whole=True)
    return predict(network, cohort, device=job.config.device)


def predicted_before(site: Site, split: str) -> Probabilities | None:
    """What was predicted together with other sites for this request; None if nothing was."""
    return _predicted.get({}).get((site.name, split))


@contextlib.contextmanager
def predicted_together(messages: Sequence[Message], contexts: Sequence[Context]) -> Iterator[None]:
    """Predict what small sites need for these requests, which come with the same weights.

    `predicted_before` knows the answers until the context ends. Where this fails each site
    predicts by itself, so that an error costs the site alone whose records are at fault.
    """
    found: dict[tuple[str, str], Probabilities] = {}
    try:
        job = read_job(messages[0])
        if may_share(job):
            weights, _ = split_extra(read_weights(messages[0]))
            for split, sites in _small_sites(job, messages, contexts).items():
                together = _predict_sites(job, weights, split, sites)
                found |= {(site.name, split): p for site, p in together}
    except Exception as error:
        logging.getLogger("heartfed").debug("sites predict one by one", exc_info=error)
    token = _predicted.set(found)
    try:
        yield
    finally:
        _predicted.reset(token)


def may_share(job: Job) -> bool:
    """Whether the sites of a training are many, and predict with the weights that all are sent."""
    config = job.config
    own = local_entries(config.strategy, config.model, config.task, config.freeze)
    return job.shares_batches and job.strategy not in (LOCAL, POOLED) and not own


def _is_small(job: Job, cohort: Cohort) -> bool:
    return job.shares_batches and 0 < len(cohort) <= FEW_EXAMPLES


def _small_sites(
    job: Job, messages: Sequence[Message], contexts: Sequence[Context]
) -> dict[str, list[Site]]:
    """The small sites among those asked, by the split that each is to predict."""
    sites: dict[str, list[Site]] = {}
    for message, context in zip(messages, contexts, strict=True):
        split = _split_to_predict(message)
        if split == TEST and strategy_traits(job.config.strategy).own_models:
            continue  # each may test another model than the one it is sent
        site = open_site(job, int(context.node_config["partition-id"]))
        if split and _is_small(job, site.splits[split]):
            sites.setdefault(split, []).append(site)
    return sites


def _split_to_predict(message: Message) -> str:
    """The split of a site's records that a request needs predictions of; "" if none."""
    kind = message.metadata.message_type
    if kind == MessageType.EVALUATE:
        return read_split(message)[0]
    return VAL if kind == MessageType.TRAIN and read_validate_first(message) else ""


def _predict_sites(
    job: Job, weights: Weights, split: str, sites: Sequence[Site]
) -> list[tuple[Site, Probabilities]]:
    """Each site with its probabilities (example, class)."""
    config = job.config
    network = network_for(config.model, config.task, config.freeze)
    set_weights(network, weights)
    cohorts = [site.splits[split] for site in sites]
    p = predict(network, Cohort.joined(cohorts), batch_size=SHARED_BATCH, whole=True)
    ends = np.cumsum([len(cohort) for cohort in cohorts])
    return list(zip(sites, np.split(p, ends[:-1]), strict=True))
