"""A site's own answer: the mean of the federation's network, one trained on, and one of its own.

Sources: the network that is trained on begins with its last layers (Kumar et al. 2022,
arXiv:2202.10054) and is pulled back to the federation's (Ditto, Li et al. 2021, arXiv:2012.04221);
APFL (arXiv:2003.13461) and FENDA (arXiv:2309.16825) mix a global and a local model. They train the
parts of the mixture together with the federation; here all begins after its last round, so that
the federation and what it costs stay those of FedAvg.
"""

from copy import deepcopy
from dataclasses import replace

import numpy as np
from torch import nn

from clients.personalization.mixing_weights import Mixing, crop_logits, mix
from clients.personalization.own_model import OwnModel
from clients.personalization.own_training import train_alone
from clients.simulated_sites import Site
from clients.training_plan import training_plan
from fl.config.run_config import RunConfig
from fl.messages.job import Job
from fl.models.mixture import MIXED, MixtureOfNetworks
from fl.models.network_parts import network_parts
from fl.training.frozen import trained_parameters
from fl.training.loop import fit
from fl.training.saved_weights import MIXTURE
from fl.training.state_dict import get_weights, set_weights
from partitions.splits import TRAIN, VAL

RATE = 0.25  # of the run's learning rate, throughout: the schedule of the federation has ended
PULL = 0.1  # of each step, to the federation's weights: as FedProx's --mu
HEAD_SHARE = 3  # one epoch of so many trains the last layers alone
# Of the federation's network, the one trained on, and the site's own.
PRIOR = np.full(MIXED, 1 / MIXED)


def personal(network: nn.Module, site: Site, job: Job) -> OwnModel:
    """Train two networks at the site, and find how much each of three counts on its validation.

    The mixture is tested if it answers validation patients it was not fitted on better than the
    federation's network does; a site without training or validation records tests that network.
    """
    if not len(site.splits[TRAIN]):
        return OwnModel(network=network)
    further, steps = trained_further(network, site, job.config)
    alone = train_alone(site, job, get_weights(network))
    steps += alone.steps
    own = deepcopy(network)
    set_weights(own, alone.weights)
    networks = (deepcopy(network), further, own)
    val = site.splits[VAL]
    found = mix(crop_logits(networks, val, job.config.device), val, PRIOR)
    # Without validation records both losses are NaN, no comparison holds, and the global one stays.
    if not found.loss < found.loss_of_each[0]:
        return OwnModel(network=network, steps=steps)
    return OwnModel(
        network=MixtureOfNetworks(networks, found.shares),
        steps=steps,
        changed=True,
        validated=found.p,
        note=_note(found, job.config),
        kind=MIXTURE,
    )


def _note(found: Mixing, config: RunConfig) -> str:
    shares = ", ".join(f"{share:.2f}" for share in found.shares)
    return (
        f"the weighted mean of the logits of three models (weights {shares}): the one that was "
        f"sent, the same after {config.personal_epochs} more epochs over the site's own records, "
        "and one trained on these alone. The weights were found on the validation patients, and "
        "calibration and thresholds on answers to each from weights found on the others"
    )


def trained_further(network: nn.Module, site: Site, config: RunConfig) -> tuple[nn.Module, int]:
    """A copy of the federation's network after `--personal-epochs` more, and its gradient steps.

    The first third of the epochs trains the layers that decide from what the others have read
    (`classifier` in fl/models/network_parts.py), the rest trains all.
    """
    trained, anchor = deepcopy(network), network.state_dict()
    trainable = trained_parameters(trained)
    last = set(network_parts(trained).classifier) & trainable.keys()
    head_epochs = config.personal_epochs // HEAD_SHARE if last else 0
    phases = ((head_epochs, last), (config.personal_epochs - head_epochs, trainable.keys()))
    steps = 0
    for number, (epochs, names) in enumerate(phases, start=1):
        if not epochs:
            continue
        for name, parameter in trainable.items():
            parameter.requires_grad_(name in names)
        plan = replace(
            training_plan(config, site.name, config.rounds + number),
            epochs=epochs,
            lr=config.lr * RATE,
            constant=True,
        )
        steps += fit(trained, site.splits[TRAIN], plan, pull=PULL, anchor=anchor).steps
    return trained, steps
