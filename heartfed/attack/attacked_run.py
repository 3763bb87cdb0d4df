"""A finished run as it is attacked: its job, its patients, and the networks that it made."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import nn

from clients.client_state import ENTRIES
from clients.local_evaluation import network_of_round
from clients.simulated_sites import Site, sites_of
from fl.config.config_file import load_config
from fl.config.strategy_traits import strategy_traits
from fl.data.cohort import Cohort
from fl.ecg.tasks import TASKS, Task
from fl.explain.run_networks import RunNetworks
from fl.explain.tested_examples import shards_of_run
from fl.messages.job import Job
from fl.models import build_network
from fl.privacy.differential_privacy.guarantee import with_noise
from fl.reports.run_files import Run, is_repeated, read_run
from fl.training.saved_weights import own_model_name
from fl.training.state_dict import Weights, load_weights, set_weights
from fl.util.errors import ConfigError, DataError, did_you_mean
from partitions.splits import TEST, TRAIN, VAL


@dataclass(frozen=True)
class Patients:
    """The patients of one or all hospitals, in order of name: (patient,) each."""

    cohort: Cohort  # all their examples, of every split
    members: NDArray[np.bool_]  # whether the patient's examples were trained on
    tested: NDArray[np.bool_]  # whether they are test examples
    site: NDArray[np.str_]
    group: NDArray[np.str_]  # site and source: within it members and others are compared

    @classmethod
    def of(cls, sites: list[Site]) -> "Patients":
        """All patients of these hospitals."""
        parts = [(one, split) for one in sites for split in (TRAIN, VAL, TEST)]
        cohort = Cohort.joined([one.splits[split] for one, split in parts])
        sizes = [len(one.splits[split]) for one, split in parts]
        site = np.repeat(np.array([one.name for one, _ in parts]), sizes)
        split = np.repeat(np.array([name for _, name in parts]), sizes)
        _, first = np.unique(cohort.patients, return_index=True)
        group = np.char.add(np.char.add(site, "|"), cohort.sources)
        return cls(cohort, split[first] == TRAIN, split[first] == TEST, site[first], group[first])

    def __len__(self) -> int:
        return len(self.members)


@dataclass(frozen=True, kw_only=True)
class AttackedRun:
    """One training of a finished simulation."""

    folder: Path  # of the run, or of its first fold
    run: Run
    job: Job
    strategy: str

    @property
    def task(self) -> Task:
        return TASKS[self.job.config.task]

    @cached_property
    def sites(self) -> dict[str, Site]:
        """Every hospital, by name."""
        return sites_of(self.job)

    @cached_property
    def everyone(self) -> Patients:
        """The patients of all hospitals."""
        return Patients.of([self.sites[name] for name in sorted(self.sites)])

    def patients_at(self, site: str) -> Patients:
        """The patients of one hospital."""
        return Patients.of([self.sites[site]])

    @cached_property
    def smallest(self) -> str:
        """The hospital with the fewest training patients, of those that have any."""
        of = {name: len(np.unique(one.splits[TRAIN].patients)) for name, one in self.sites.items()}
        return min((name for name in of if of[name]), key=lambda name: (of[name], name))

    def network(self, weights: Weights) -> nn.Module:
        """The run's network with these weights."""
        with torch.random.fork_rng(devices=[]):
            network = build_network(self.job.config.model, self.task)
        set_weights(network, weights)
        return network

    @cached_property
    def final_weights(self) -> Weights:
        """The weights of the best round; `DataError` if they are not in the run directory."""
        path = self.folder / "weights" / f"{self.strategy}-best.safetensors"
        try:
            weights = load_weights(path)
            self.network(weights)
        except (OSError, SafetensorError, RuntimeError, KeyError, ValueError):
            raise DataError(
                f"{path}: is missing, or no weights of this version's network "
                f"{self.job.config.model!r}. Name a run that has its weights."
            ) from None
        return weights

    def own_network(self, site: str) -> nn.Module | str:
        """A hospital's own model, or why there is none."""
        traits = strategy_traits(self.strategy)
        if traits.local_normalisation:
            return self._with_own_layers(site)
        path = self.folder / "weights" / f"{own_model_name(self.strategy, site)}.safetensors"
        if not traits.own_models or not path.is_file():
            return "it tested the federation's model"
        return RunNetworks(self.folder, self.run.config, self.strategy, site).of("")

    def _with_own_layers(self, site: str) -> nn.Module | str:
        """The global model with the layers that stay at the hospital, as of the best round."""
        one = self.sites[site]
        best = self.run.summary.strategies[self.strategy].best_round
        kept = self.folder / "checkpoint" / "sites" / site / self.strategy / ENTRIES
        if best is None or not kept.is_dir():
            return "the run does not keep its own layers"
        shared = network_of_round(one, self.job, self.final_weights, best)
        weights = {name: value.numpy().copy() for name, value in shared.state_dict().items()}
        return self.network(weights)


def open_run(folder: Path, strategy: str = "") -> AttackedRun:
    """A run's training by this strategy, by default the one it is judged by.

    Of a run over folds, that of the first fold. Raises ConfigError or DataError if it has no
    recordings here, or they are not where the run found them.
    """
    if is_repeated(folder):
        raise ConfigError(
            f"{folder}: is a parent of seeds. Name one of them, e.g. {folder / 'seed-0'}."
        )
    run = read_run(folder)
    if run.deployed:
        raise ConfigError(
            f"{folder}: is the run of a deployment, and a hospital's recordings never leave it. "
            "Attack a simulation with the same settings: heartfed simulate"
        )
    strategy = strategy or run.main
    if strategy not in run.federated:
        guess = did_you_mean(strategy, run.federated)
        raise ConfigError(
            f"--strategy is {strategy!r}.{guess} Federated trainings of this run: "
            f"{', '.join(run.federated) or 'none'}."
        )
    config = with_noise(load_config(run.config).for_strategy(strategy))
    place = folder.resolve()
    if run.folds:
        config, place = config.for_fold(1), place / "fold-1"
    if config.device == "cuda" and not torch.cuda.is_available():
        config = config.model_copy(update={"device": "cpu"})
    job = Job(
        config=config,
        strategy=strategy,
        workspace=str(place),
        shards=tuple(str(path) for path in shards_of_run(run.facts)),
    )
    found = AttackedRun(folder=place, run=run, job=job, strategy=strategy)
    n_sites = len(found.sites)
    return AttackedRun(
        folder=place,
        run=run,
        job=job.model_copy(update={"n_sites": n_sites}),
        strategy=strategy,
    )
