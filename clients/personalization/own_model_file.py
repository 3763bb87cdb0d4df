"""A site's own model as a file that prediction reads; it never leaves the site."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clients.personalization.own_model import OwnModel
from clients.simulated_sites import Site
from fl.datasets import DATASETS
from fl.evaluation.decisions.decision_rule import DecisionRule
from fl.messages.job import Job
from fl.training.saved_weights import own_model_name, sidecar_of, weights_facts
from fl.training.state_dict import get_weights, save_weights
from fl.util.atomic_io import write_atomically
from partitions.splits import TRAIN, VAL


def write_own_model(
    site: Site, job: Job, own: OwnModel, rule: DecisionRule, best_round: int
) -> Path:
    """`<strategy>-<site>.safetensors`, and beside it the file that prediction reads with it.

    `rule` is how the site decides with this model, `best_round` the round of the federation that
    it was made of.
    """
    name = own_model_name(job.strategy, site.name)
    path = (site.weights or site.folder) / f"{name}.safetensors"
    cohorts = site.splits.values()
    synthetic = any_synthetic(source for one in cohorts for source in one.sources.tolist())
    return save_own_model(
        path,
        own,
        rule,
        task=job.config.task,
        model=job.config.model,
        strategy=name,
        best_round=best_round,
        synthetic=synthetic or any_synthetic(shard.source for shard in site.splits[TRAIN].shards),
        simulated_rare=job.config.simulated_rare,
        sources={*site.splits[TRAIN].sources.tolist(), *rule.sources},
        site=site.name,
        patients=own_patients(site),
    )


def save_own_model(
    path: Path,
    own: OwnModel,
    rule: DecisionRule,
    *,
    site: str,
    patients: dict[str, int],
    **described: Any,
) -> Path:
    """Write weights and sidecar; `described` are the other arguments of `weights_facts`."""
    header = {name: described[name] for name in ("model", "task", "strategy")}
    save_weights(path, get_weights(own.network), header)
    facts = weights_facts(path, decision=rule.to_json(), **described)
    facts |= {"kind": own.kind, "site": site, "made_by": own.note, "patients": patients}
    write_atomically(sidecar_of(path), (json.dumps(facts, indent=1) + "\n").encode())
    return path


def own_patients(site: Site) -> dict[str, int]:
    """Patients of the site whose records made its own model, by split."""
    return {split: site.splits[split].n_patients for split in (TRAIN, VAL)}


def any_synthetic(sources: Iterable[str]) -> bool:
    """Whether one of these sources is a synthetic one of DATASETS."""
    return any(name in DATASETS and DATASETS[name].card.synthetic for name in set(sources))
