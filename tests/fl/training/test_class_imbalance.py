"""What each remedy for rare classes does to an epoch and to the loss."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fl.config.config_file import load_config
from fl.config.run_config import RunConfig
from fl.data.cohort import Cohort
from fl.ecg.tasks import BEAT, RHYTHM
from fl.models import build_network
from fl.training.class_imbalance import (
    IMBALANCE,
    class_weights,
    epoch_order,
    focal_exponent,
    trainable_examples,
)
from fl.training.loop import TrainingPlan, fit
from fl.training.losses import task_loss
from fl.util.errors import ConfigError


def dealt(beats, *counts):
    """The cohort's first beats under the given numbers of N, S, V, F, Q."""
    classes = np.repeat(np.arange(5), counts)
    (shard,) = beats.shards
    labels = shard.labels.copy()
    labels[: len(classes)] = np.eye(5, dtype=np.int8)[classes]
    return Cohort.of(beats.task, [replace(shard, labels=labels)]).take(np.arange(len(classes)))


def seen(cohort, imbalance, rng):
    order = epoch_order(cohort, imbalance, 0, rng)
    return np.bincount(cohort.labels[order].argmax(axis=1), minlength=5)


def test_classes_that_cannot_be_learnt_are_not_trained_on(beats, rng):
    some = dealt(beats, 40, 10, 10, 5, 5)
    assert len(trainable_examples(some)) == 60
    assert seen(some, "none", rng).tolist() == [40, 10, 10, 0, 0]


def test_a_thinned_epoch_takes_a_quarter_of_the_commonest_class(beats, rng):
    some = dealt(beats, 80, 10, 10, 0, 0)
    passes = np.array([seen(some, "thinned", rng) for _ in range(100)])
    assert (passes[:, 1:3] == 10).all()
    assert passes[:, 0].mean() == pytest.approx(20, abs=2)


def test_a_balanced_epoch_takes_every_class_equally_often(beats, rng):
    some = dealt(beats, 80, 15, 5, 0, 0)
    passes = np.array([seen(some, "balanced", rng) for _ in range(100)])
    assert (passes.sum(axis=1) == 40).all()  # as many as a thinned one: 20 + 15 + 5
    np.testing.assert_allclose(passes.mean(axis=0)[:3], 40 / 3, atol=1.5)


def test_weights_are_the_mean_count_over_the_own_and_limited(beats):
    weights = class_weights(dealt(beats, 60, 1, 29, 5, 0), "weighted")
    assert weights.tolist() == pytest.approx([0.5, 10, 30 / 29, 1, 1])
    assert class_weights(dealt(beats, 60, 1, 29, 5, 0), "thinned") is None


def test_nobody_trains_on_nothing(beats, rng):
    none = beats.take(np.zeros(0, dtype=np.int64))
    for imbalance in IMBALANCE:
        assert len(epoch_order(none, imbalance, 0, rng)) == 0


@pytest.mark.parametrize("task", [RHYTHM, BEAT], ids=["rhythm", "beat"])
def test_weights_multiply_the_loss_of_their_class(task):
    n = len(task.classes)
    logits, labels = torch.zeros(1, n), torch.eye(n)[[1]]
    plain = task_loss(task, logits, labels).item()
    doubled = torch.ones(n)
    doubled[1] = 2
    more = task_loss(task, logits, labels, doubled).item() - plain
    assert more == pytest.approx(np.log(5) if task.exclusive else np.log(2) / 9)


@pytest.mark.parametrize("task", [RHYTHM, BEAT], ids=["rhythm", "beat"])
def test_focal_loss_turns_away_from_what_is_right_already(task):
    n = len(task.classes)
    logits, labels = torch.zeros(1, n), torch.eye(n)[[1]]
    right = 1 / 5 if task.exclusive else 1 / 2
    plain = task_loss(task, logits, labels).item()
    assert task_loss(task, logits, labels, focus=focal_exponent("focal")).item() == pytest.approx(
        plain * (1 - right) ** 2
    )
    sure = logits + 20 * (2 * labels - 1)
    assert task_loss(task, sure, labels, focus=2.0).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("imbalance", IMBALANCE)
def test_every_remedy_trains(beats, imbalance):
    some = dealt(beats, 40, 12, 12, 2, 0)
    torch.manual_seed(0)
    plan = TrainingPlan(
        seed=0,
        site="a",
        round=1,
        rounds=1,
        epochs=1,
        batch_size=16,
        lr=2e-3,
        weight_decay=0.01,
        imbalance=imbalance,
    )
    fitted = fit(build_network("beat_cnn", BEAT), some, plan)
    assert np.isfinite(fitted.loss_sum)
    assert fitted.steps in (2, 3, 4)


def test_the_task_says_what_is_used_unless_a_flag_does():
    assert RunConfig(task="beat").imbalance == "thinned"
    assert RunConfig(task="beat").batch_size == 128
    assert RunConfig().imbalance == "none"
    assert RunConfig().batch_size == 8
    assert RunConfig(task="beat", imbalance="focal", batch_size=7).batch_size == 7


def test_choosing_by_class_is_for_beats():
    with pytest.raises(ConfigError, match="for beats"):
        load_config({"imbalance": "balanced"})
