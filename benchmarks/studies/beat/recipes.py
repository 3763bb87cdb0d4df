"""The settings of a training, the rows of the comparison, and a training with its answer."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.studies.beat.splits import Rows
from fl.data.cohort import Cohort
from fl.ecg.beat_features import EARLY, FEATURES
from fl.ecg.tasks import BEAT
from fl.evaluation.decisions.decision_rule import DecisionRule, answer, choose_rule
from fl.evaluation.decisions.score_histograms import count_scores
from fl.models import MODELS
from fl.models.blocks import NetworkOptions
from fl.training.loop import TrainingPlan, fit, predict
from fl.util.random_streams import torch_seed

# The recipe that is proposed, and with which DS2 is opened.
MODEL = "beat_cnn"
CAUSAL_MODEL = "beat_gru_causal"  # of the causal task
EPOCHS = 2
LR = 2e-3
BATCH_SIZE = 128
WEIGHT_DECAY = 0.01
AUGMENT = ("gain", "noise", "feature_noise", "detector")
IMBALANCE = "thinned"

PREDICTED_AT_ONCE = 512  # examples; it does not change the result
MEMBER_SEEDS = 1000  # between the seeds of the networks of an ensemble
# Features that compare a beat with the whole recording, or with a fixed interval.
RECORDING_FEATURES = (
    "pre/recording 75",
    "pre/recording 90",
    "post/recording 75",
    "pre/0.75 s",
    "nearby/0.75 s",
)


@dataclass(frozen=True, kw_only=True)
class BeatRecipe:
    """The settings of one training; the defaults are the proposed ones."""

    model: str = MODEL
    epochs: int = EPOCHS
    lr: float = LR
    augment: tuple[str, ...] = AUGMENT
    imbalance: str = IMBALANCE
    trainable: tuple[str, ...] = BEAT.trainable
    features: tuple[str, ...] = FEATURES  # the others are zero
    early_features: tuple[str, ...] = EARLY  # with a decision of their own on S against N; or ()
    gate: bool = True  # S is less probable in fibrillation
    networks: int = 1  # trained with other seeds; their probabilities are averaged
    sources: tuple[str, ...] = ()  # that train and validate; () for all
    on_detected: bool = False  # also tested on the beats that a detector finds

    @property
    def options(self) -> NetworkOptions:
        """The network of MODELS with the recipe's changes."""
        options: Any = MODELS[self.model]
        early = tuple(FEATURES.index(name) for name in self.early_features)
        irregular = options.irregular if self.gate else None
        changed: NetworkOptions = replace(options, early_features=early, irregular=irregular)
        return changed

    @property
    def digest(self) -> str:
        """A short name of the recipe: results of another one are not used."""
        return hashlib.sha256(f"{self!r}/{self.options!r}".encode()).hexdigest()[:16]


PROPOSED = BeatRecipe(on_detected=True)
# A full pass has three times as many beats as a thinned one: one is about as many steps as two. The
# fibrillation gate acts on the early features' decision, so it goes with them.
RECIPES = {
    "as proposed": PROPOSED,
    "beat_mlp": replace(PROPOSED, model="beat_mlp"),
    "beat_gru": replace(PROPOSED, model="beat_gru"),
    "three beat_mlp": replace(PROPOSED, model="beat_mlp", networks=3),
    "DS1 alone": BeatRecipe(sources=("mitdb",)),
    "no fibrillation gate": replace(PROPOSED, gate=False),
    "no early features (and no gate)": BeatRecipe(early_features=()),
    "no detector errors": replace(
        PROPOSED, augment=tuple(name for name in AUGMENT if name != "detector")
    ),
    "no recording features": replace(
        PROPOSED, features=tuple(name for name in FEATURES if name not in RECORDING_FEATURES)
    ),
    "imbalance none and 1 epoch": BeatRecipe(imbalance="none", epochs=1),
    "F trained on as well": BeatRecipe(trainable=(*BEAT.trainable, "F")),
    "4 epochs": BeatRecipe(epochs=4),
    "8 epochs": BeatRecipe(epochs=8),
    "10 epochs at .005": BeatRecipe(epochs=10, lr=5e-3),
}
LEAVE_ONE_OUT = ("as proposed", "beat_mlp", "beat_gru")  # rows of the comparison of databases


@dataclass(frozen=True)
class Trained:
    """Trained networks, and the rule chosen on validation patients by which they answer."""

    recipe: BeatRecipe
    networks: tuple[nn.Module, ...]
    rule: DecisionRule
    device: str

    def answers(self, cohort: Cohort) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Calibrated probabilities (example, class) and the answer (example,)."""
        p = probabilities(self.networks, self.recipe, cohort, self.device)
        return answered(self.rule, p, cohort)


def answered(
    rule: DecisionRule, p: NDArray[np.float64], cohort: Cohort
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """A rule's calibrated probabilities (example, class) and the answered class (example,)."""
    calibrated, predicted = answer(rule, p, cohort.sources, cohort.task.classes)
    return calibrated, predicted.argmax(axis=1)


def train(
    cohort: Cohort, trained: Rows, validated: Rows, recipe: BeatRecipe, seed: int, device: str
) -> Trained:
    """Train a recipe on some rows and choose its calibration and operating points on others."""
    seen = as_in(recipe, cohort)
    members = [seed + MEMBER_SEEDS * member for member in range(recipe.networks)]
    networks = tuple(_network(seen.take(trained), recipe, member, device) for member in members)
    validation = seen.take(validated)
    p = probabilities(networks, recipe, validation, device)
    by_source = {}
    for source in np.unique(validation.sources).tolist():
        rows = np.flatnonzero(validation.sources == source)
        patients = validation.patients[rows]
        by_source[source] = count_scores(validation.labels[rows], p[rows], patients)
    return Trained(recipe, networks, choose_rule(by_source, seen.task), device)


def probabilities(
    networks: tuple[nn.Module, ...], recipe: BeatRecipe, cohort: Cohort, device: str
) -> NDArray[np.float64]:
    """Mean over the networks of their probabilities: (example, class)."""
    seen = as_in(recipe, cohort)
    each = [predict(n, seen, batch_size=PREDICTED_AT_ONCE, device=device) for n in networks]
    return np.asarray(np.mean(each, axis=0))


def as_in(recipe: BeatRecipe, cohort: Cohort) -> Cohort:
    """The cohort with the recipe's classes and its features only; the others are zero."""
    task = replace(cohort.task, trainable=recipe.trainable)
    if recipe.features == FEATURES:
        return replace(cohort, task=task)
    used = np.isin(FEATURES, recipe.features)
    shards = tuple(
        replace(
            shard,
            features=shard.features * used,
            detector_features=shard.detector_features * used[: shard.detector_features.shape[1]],
        )
        for shard in cohort.shards
    )
    return replace(cohort, task=task, shards=shards)


def _network(cohort: Cohort, recipe: BeatRecipe, seed: int, device: str) -> nn.Module:
    """A network trained on all examples of the cohort."""
    task = cohort.task
    torch.manual_seed(torch_seed(seed, "init"))
    network = recipe.options.build(
        leads=task.leads,
        samples=task.samples,
        features=len(task.features),
        classes=len(task.classes),
    )
    plan = TrainingPlan(
        seed=seed,
        site="all",
        round=1,
        rounds=1,
        epochs=recipe.epochs,
        batch_size=BATCH_SIZE,
        lr=recipe.lr,
        weight_decay=WEIGHT_DECAY,
        augment=recipe.augment,
        imbalance=recipe.imbalance,
        device=device,
    )
    fit(network, cohort, plan)
    return network
