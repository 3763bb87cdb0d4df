"""Attacks on a finished run: by the patients' losses, by shadow models, and by one gradient."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import fl
from clients.app import app as client_app
from clients.training_plan import training_plan
from fl.config.run_config import RunConfig
from fl.models import build_network, check_model
from fl.privacy.attacks.attack_report import (
    EVERY,
    FALL,
    FINAL,
    LOSS,
    OFFLINE,
    ONLINE,
    OWN,
    SUM,
    UPDATE,
    Attack,
    AttackReport,
    AttackRow,
    ShadowFacts,
    Target,
)
from fl.privacy.attacks.inverted_recordings import FEWEST, invert_recordings
from fl.privacy.attacks.likelihood_ratio import offline_score, online_score
from fl.privacy.attacks.loss_threshold import fall_score, loss_score
from fl.privacy.attacks.patient_scores import (
    PER_PATIENT,
    PatientLosses,
    losses_by_patient,
    some_of_each,
)
from fl.privacy.attacks.shadow_models import Shadows, train_shadows
from fl.privacy.attacks.success import measure
from fl.privacy.differential_privacy.guarantee import is_private
from fl.training.frozen import network_to_train
from fl.training.loop import TrainingPlan
from fl.training.state_dict import set_weights
from fl.util.errors import ConfigError, DataError
from heartfed.attack.attacked_run import AttackedRun, Patients
from partitions.splits import TRAIN
from server.experiment.replay import ReplayedRound, replay_round
from server.rounds.initial_weights import initial_weights

FEWEST_FOR_SHADOWS = 4  # patients, of which each shadow model has half
DELTA = 1e-5
Scores = NDArray[np.float64]
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class AttackSettings:
    """What is attacked, and with how much work."""

    round: int = 0  # whose updates are attacked; 0: the middle round
    shadows: int = 8  # shadow models of each target, an even number; 0: none
    shadow_model: str = ""  # network of those of the final model; "": the run's own
    shadow_epochs: int = 0  # of those of the final model; 0: as many as the run's sites train
    inversions: int = 5  # recordings; 0: none
    delta: float = DELTA

    def check(self, run: AttackedRun) -> None:
        """`ConfigError` unless the settings can be used for this run."""
        if self.shadows < 0 or self.shadows % 2:
            raise ConfigError(
                f"--shadows is {self.shadows}. Give an even number, so that each patient is in "
                "half of the shadow models; 0: none."
            )
        rounds = run.job.config.rounds
        if not 0 <= self.round <= rounds:
            raise ConfigError(f"--round is {self.round}. The run's rounds are 1 to {rounds}.")
        if self.shadow_epochs < 0:
            raise ConfigError(f"--shadow-epochs is {self.shadow_epochs}. Give 0 or more.")
        if self.inversions < 0 or self.inversions == 1:
            raise ConfigError(
                f"--inversions is {self.inversions}. Give at least {FEWEST}: each reconstruction "
                "is compared with the other recordings too; 0: none."
            )
        if not 0 <= self.delta < 1:
            raise ConfigError(f"--delta is {self.delta:g}. Give a number from 0 to below 1.")
        if self.shadow_model:
            check_model(self.shadow_model, run.task)

    def number_of_round(self, config: RunConfig) -> int:
        """The round whose updates are attacked."""
        return self.round or (config.rounds + 1) // 2


def measure_run(
    run: AttackedRun, settings: AttackSettings, say: Say = lambda line: None
) -> AttackReport:
    """Every attack on a run; `say` is called with a line now and then.

    Raises ConfigError or DataError as `open_run` and `AttackSettings.check` do.
    """
    settings.check(run)
    everyone = run.everyone
    bench = _Bench(run, settings, say, rows=[], missing=[])
    bench.final_model()
    bench.own_models()
    config = run.job.config
    if is_private(config) and config.secure_aggregation:
        bench.missing.append(
            "updates and their sum: sites share the noise of a private run under secure "
            "aggregation, and its rounds are not repeated"
        )
    else:
        bench.one_round(bench.replay())
    train = run.sites[run.smallest].splits[TRAIN]
    inversion = None
    if settings.inversions:
        say(f"{settings.inversions} recordings are computed back from gradients")
        inversion = invert_recordings(train, settings.inversions, run.job.config.seed)
        if inversion is None:
            bench.missing.append("gradient inversion: the smallest hospital has one patient")
    else:
        bench.missing.append("gradient inversion: left out by --inversions 0")
    return AttackReport(
        heartfed=fl.__version__,
        task=config.task,
        model=config.model,
        strategy=run.strategy,
        synthetic=bool(run.run.synthetic),
        round=settings.number_of_round(config),
        rounds=config.rounds,
        delta=settings.delta,
        per_patient=PER_PATIENT,
        members=int(everyone.members.sum()),
        non_members=int((~everyone.members).sum()),
        smallest=run.smallest,
        rows=tuple(bench.rows),
        shadows=bench.shadow_facts(),
        inversion=inversion,
        not_measured=tuple(bench.missing),
        secure=config.secure_aggregation,
    )


@dataclass(frozen=True)
class _Bench:
    """One run under attack, and what was found so far."""

    run: AttackedRun
    settings: AttackSettings
    say: Say
    rows: list[AttackRow]
    missing: list[str]

    def final_model(self) -> None:
        """The model of the best round, which every hospital receives."""
        everyone = self.run.everyone
        self.say("the final model")
        seen = self._seen(self.run.network(self.run.final_weights), everyone)
        self._add(FINAL, LOSS, loss_score(seen), everyone)
        plan = replace(training_plan(self._usual, "shadow", 1), rounds=1, epochs=self._epochs())
        scores = self._ratios(self._fresh_network, everyone, plan, seen, FINAL)
        for attack, score in scores.items():
            self._add(FINAL, attack, score, everyone)

    def own_models(self) -> None:
        """Hospitals' own models; test patients alone are non-members of these."""
        reasons: dict[str, str] = {}
        for site in sorted(self.run.sites):
            network = self.run.own_network(site)
            if isinstance(network, str):
                reasons[site] = network
                continue
            patients = self.run.patients_at(site)
            used = patients.members | patients.tested
            scores = loss_score(self._seen(network, patients))
            self._row(OWN, LOSS, site, scores, patients, used)
        if len(reasons) == len(self.run.sites):
            self.missing.append(f"own models: of no hospital ({reasons[min(reasons)]})")
        else:
            self.missing.extend(f"own model of {site}: {why}" for site, why in reasons.items())

    def replay(self) -> ReplayedRound:
        """The round whose updates are attacked, made again."""
        job, number = self.run.job, self.settings.number_of_round(self.run.job.config)
        return replay_round(
            job, client_app, number, lambda n: self.say(f"round {n} of {number} is repeated")
        )

    def one_round(self, seen: ReplayedRound) -> None:
        """Each hospital's update of one round, and all of them together."""
        self._sum_of_updates(seen)
        found: dict[Attack, list[Scores]] = {}
        whole: list[Patients] = []
        for site in sorted(self.run.sites):
            if site not in seen.updates:
                self.missing.append(f"update of {site}: it did not train in round {seen.number}")
                continue
            patients = self.run.patients_at(site)
            for attack, scores in self._update_of(site, patients, seen).items():
                self._row(UPDATE, attack, site, scores, patients)
                found.setdefault(attack, []).append(scores)
            whole.append(patients)
        for attack, parts in found.items():
            if len(parts) == len(whole):
                self._over_sites(UPDATE, attack, parts, whole)

    @property
    def _usual(self) -> RunConfig:
        """How shadow models are trained: as the sites, but without noise."""
        config = self.run.job.config
        return config.without_privacy() if is_private(config) else config

    def shadow_facts(self) -> ShadowFacts | None:
        """The shadow models that were trained."""
        config, settings = self.run.job.config, self.settings
        if not settings.shadows:
            return None
        return ShadowFacts(
            models=settings.shadows,
            network=settings.shadow_model or config.model,
            epochs=self._epochs(),
            round_epochs=config.local_epochs,
        )

    def _epochs(self) -> int:
        config = self.run.job.config
        return self.settings.shadow_epochs or config.rounds * config.local_epochs

    def _update_of(
        self, site: str, patients: Patients, seen: ReplayedRound
    ) -> Mapping[Attack, Scores]:
        """Scores of one hospital's patients, by attack."""
        before = self._seen(self.run.network(dict(seen.before)), patients)
        after = self._seen(self.run.network(dict(seen.updates[site])), patients)
        plan = training_plan(self._usual, site, seen.number)
        start = self._network_before(seen)
        ratios = self._ratios(start, patients, plan, after, f"{UPDATE} of {site}")
        return {LOSS: loss_score(after), FALL: fall_score(before, after), **ratios}

    def _sum_of_updates(self, seen: ReplayedRound) -> None:
        everyone = self.run.everyone
        before = self._seen(self.run.network(dict(seen.before)), everyone)
        after = self._seen(self.run.network(dict(seen.after)), everyone)
        self._add(SUM, LOSS, loss_score(after), everyone)
        self._add(SUM, FALL, fall_score(before, after), everyone)
        plan = training_plan(self._usual, "shadow", seen.number)
        start = self._network_before(seen)
        for attack, score in self._ratios(start, everyone, plan, after, SUM).items():
            self._add(SUM, attack, score, everyone)

    def _seen(self, network: nn.Module, patients: Patients) -> PatientLosses:
        cohort = some_of_each(patients.cohort, network)
        return losses_by_patient(network, cohort, self.run.job.config.device)

    def _fresh_network(self, seed: int) -> nn.Module:
        """What a shadow model of the final model starts from."""
        config, task = self.run.job.config, self.run.task
        model = self.settings.shadow_model or config.model
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if model != config.model:
                return build_network(model, task)
            network = network_to_train(model, task.name, config.freeze)
        if config.init_from:  # whoever attacks knows the model that training started from
            set_weights(network, initial_weights(self.run.job))
        return network

    def _network_before(self, seen: ReplayedRound) -> Callable[[int], nn.Module]:
        """What a shadow model of a round starts from: the weights that were sent."""
        config = self.run.job.config

        def start(seed: int) -> nn.Module:
            with torch.random.fork_rng(devices=[]):
                network = network_to_train(config.model, config.task, config.freeze)
            set_weights(network, dict(seen.before))
            return network

        return start

    def _ratios(
        self,
        start: Callable[[int], nn.Module],
        patients: Patients,
        plan: TrainingPlan,
        seen: PatientLosses,
        name: str,
    ) -> dict[Attack, Scores]:
        """Scores by shadow models; none, with the reason noted, where these cannot be trained."""
        if not self.settings.shadows:
            if name == FINAL:
                self.missing.append("LiRA: left out by --shadows 0")
            return {}
        if len(patients) < FEWEST_FOR_SHADOWS:
            self.missing.append(f"LiRA on {name}: {len(patients)} patients cannot be halved")
            return {}
        try:
            shadows = self._shadows(start, patients, plan, name)
        except DataError:
            self.missing.append(f"LiRA on {name}: half of its patients show no class to train on")
            return {}
        given = (seen.confidence, shadows.confidence, shadows.trained)
        return {ONLINE: online_score(*given), OFFLINE: offline_score(*given)}

    def _shadows(
        self,
        start: Callable[[int], nn.Module],
        patients: Patients,
        plan: TrainingPlan,
        name: str,
    ) -> Shadows:
        models = self.settings.shadows
        return train_shadows(
            start,
            patients.cohort,
            plan,
            models,
            name,
            trained=lambda n: self.say(f"{name}: shadow model {n} of {models}"),
        )

    def _add(self, target: Target, attack: Attack, scores: Scores, everyone: Patients) -> None:
        """A row over all hospitals, and one for each."""
        self._row(target, attack, EVERY, scores, everyone)
        for site in sorted(self.run.sites):
            self._row(target, attack, site, scores, everyone, everyone.site == site)

    def _row(
        self,
        target: Target,
        attack: Attack,
        site: str,
        scores: Scores,
        patients: Patients,
        used: NDArray[np.bool_] | None = None,
    ) -> None:
        rows = np.ones(len(patients), dtype=bool) if used is None else used
        found = measure(
            scores[rows], patients.members[rows], patients.group[rows], self.settings.delta
        )
        self.rows.append(AttackRow(target=target, attack=attack, site=site, success=found))

    def _over_sites(
        self, target: Target, attack: Attack, parts: list[Scores], whole: list[Patients]
    ) -> None:
        """A row over all hospitals of scores that each hospital's own update gave."""
        found = measure(
            np.concatenate(parts),
            np.concatenate([one.members for one in whole]),
            np.concatenate([one.group for one in whole]),
            self.settings.delta,
        )
        self.rows.append(AttackRow(target=target, attack=attack, site=EVERY, success=found))
