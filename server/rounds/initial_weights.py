"""The weights that a run begins with: fresh ones, or with --init-from those of a saved model."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fl.config.run_config import RunConfig
from fl.ecg.tasks import TASKS
from fl.messages.job import Job
from fl.models import parts_of
from fl.privacy.differential_privacy.guarantee import is_private
from fl.runs.run_facts import TransferFacts
from fl.runs.run_record import RunRecord
from fl.training.frozen import frozen_entries
from fl.training.saved_weights import check_digest, saved_facts, trained_sources
from fl.training.state_dict import INITIAL, Weights, fresh_weights, load_weights, save_weights
from fl.util.errors import ConfigError

FLAG = "--init-from"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A saved model that training starts from, and the entries of it that are taken."""

    facts: TransferFacts
    taken: Weights


def initial_weights(job: Job) -> Weights:
    """The weights that every training of the run begins with."""
    fresh = fresh_weights(job.config)
    if not job.config.init_from:
        return fresh
    kept = Path(job.workspace) / INITIAL
    started = load_weights(kept) if kept.exists() else fresh | _origin(job.config).taken
    return {name: started[name] for name in fresh}  # a file has an order of its own


def read_origin(config: RunConfig) -> Origin | None:
    """The saved model that the run starts from, None without --init-from.

    `ConfigError` says in one line why it cannot be used.
    """
    return _origin(config) if config.init_from else None


def keep_initial_weights(
    record: RunRecord, config: RunConfig, known: TransferFacts | None = None
) -> TransferFacts | None:
    """Write the first weights into the run directory, and into run.json where they come from.

    A resumed run keeps what it wrote, and needs the saved model no more. Before that, the model
    must be the one that the run began with: `ConfigError` if it is not. `known` is of the run that
    this one is a part of.
    """
    if not config.init_from:
        return None
    own = transfer_of(record)
    if own is not None and (record.folder / INITIAL).exists():
        return own
    known = own or known
    origin = _origin(config)
    if known is not None and known.sha256 != origin.facts.sha256:
        raise ConfigError(
            f"--resume {record.folder}: {FLAG} {config.init_from} is not the file that the run "
            f"began with (SHA-256 {origin.facts.sha256[:12]}, not {known.sha256[:12]}). Restore "
            "it, or start a new run."
        )
    record.update(transfer=origin.facts.to_json())
    save_weights(record.folder / INITIAL, fresh_weights(config) | origin.taken)
    return origin.facts


def transfer_of(record: RunRecord) -> TransferFacts | None:
    """The saved model that a run began with, by its run.json."""
    facts = record.content.get("transfer")
    return TransferFacts.from_json(facts, str(record.folder / "run.json")) if facts else None


def _origin(config: RunConfig) -> Origin:
    path, task = Path(config.init_from), TASKS[config.task]
    facts = saved_facts(path, FLAG)
    check_digest(path, facts, FLAG)
    saved, network = load_weights(path), fresh_weights(config)
    sources, earlier = trained_sources(facts)
    parts = parts_of(config.model, task)
    frozen = frozen_entries(config.freeze, config.model, config.task)
    optional = {*parts.classifier, *parts_of(facts["model"], TASKS[facts["task"]]).classifier}
    # Every step of private training costs privacy: it begins with the saved dense layers.
    retrained = bool(frozen) and not is_private(config)
    dropped = set(parts.classifier) if retrained else set()
    if not retrained and not _head_fits(facts, config, saved, network, parts.head):
        dropped = set(parts.head)
    for name in [*network, *(name for name in saved if name not in network)]:
        only_one = name not in network or name not in saved
        if name in dropped or (only_one and name in optional):
            continue
        if only_one or saved[name].shape != network[name].shape:
            raise _misfit(name, facts, config, saved, network)
    taken = {
        name: saved[name].astype(value.dtype)
        for name, value in network.items()
        if name in saved and name not in dropped
    }
    return Origin(
        taken=taken,
        facts=TransferFacts(
            file=config.init_from,
            **{k: facts[k] for k in ("sha256", "task", "model", "strategy", "synthetic")},
            taken=len(taken),
            fresh=tuple(name for name in network if name not in taken),
            why_fresh=_why_fresh(facts, config, network.keys() - taken.keys()),
            unused=tuple(sorted(saved.keys() - network.keys())),
            freeze=config.freeze,
            frozen=len(frozen),
            sources=tuple(sorted(sources)),
            earlier_sources=tuple(sorted(earlier)),
        ),
    )


def _head_fits(
    facts: dict[str, Any], config: RunConfig, saved: Weights, network: Weights, head: Iterable[str]
) -> bool:
    """Whether each row of the saved head belongs to the same class, and reads the same numbers."""
    same_classes = tuple(facts["classes"]) == TASKS[config.task].classes
    return same_classes and all(
        name in saved and saved[name].shape == network[name].shape for name in head
    )


def _why_fresh(facts: dict[str, Any], config: RunConfig, fresh: Iterable[str]) -> str:
    if not list(fresh):
        return ""
    if config.freeze != "none" and not is_private(config):
        return f"--freeze {config.freeze} trains them from the start"
    if tuple(facts["classes"]) != TASKS[config.task].classes:
        return "its classes are others"
    return "its features are others"


def _misfit(
    name: str, facts: dict[str, Any], config: RunConfig, saved: Weights, network: Weights
) -> ConfigError:
    """The error that names an entry, with the shape it has in both networks."""
    task = TASKS[config.task]
    there, here = (
        f"has shape {shapes[name].shape}" if name in shapes else "is missing"
        for shapes in (saved, network)
    )
    return ConfigError(
        f"{FLAG} {config.init_from}: {name} {there} in this network {facts['model']!r} of the task "
        f"{facts['task']!r}, and {here} in --model {config.model} for --task {config.task}. "
        f"Accepted: weights of --model {config.model} for {task.leads} leads (only layers after "
        "those that read the signal may be missing, and the head have other classes)."
    )
