"""A site's own model: a few more epochs on its own records after the federation has ended."""

from dataclasses import replace

from torch import nn

from clients.personalization.own_model import OwnModel
from clients.simulated_sites import Site
from clients.training_plan import training_plan
from fl.config.run_config import RunConfig
from fl.messages.job import Job
from fl.training.loop import fit, predict
from fl.training.losses import patient_losses
from fl.training.state_dict import get_weights, set_weights
from partitions.splits import TRAIN, VAL


def finetune(network: nn.Module, site: Site, job: Job) -> OwnModel:
    """Train a few more epochs on the site's own records; keep the result if validation is better.

    The learning rate is a tenth of the run's and constant: the schedule of the federation has
    ended.
    """
    config = job.config
    if not len(site.splits[TRAIN]):
        return OwnModel(network=network)
    global_weights, global_loss = get_weights(network), _val_loss(network, site, config)
    plan = replace(
        training_plan(config, site.name, config.rounds + 1),
        epochs=config.finetune_epochs,
        lr=config.lr / 10,
        constant=True,
    )
    fitted = fit(network, site.splits[TRAIN], plan)
    # Without validation records both losses are NaN, no comparison holds, and the global stay.
    better = _val_loss(network, site, config) < global_loss
    if not better:
        set_weights(network, global_weights)
    note = f"{plan.epochs} more epochs over the site's own records at a tenth of the learning rate"
    return OwnModel(network=network, steps=fitted.steps, changed=better, note=note)


def _val_loss(network: nn.Module, site: Site, config: RunConfig) -> float:
    val = site.splits[VAL]
    if not len(val):
        return float("nan")
    p = predict(network, val, device=config.device)
    return float(patient_losses(val.task, val.labels, p, val.patients).mean())
