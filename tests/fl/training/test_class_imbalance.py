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
from fl.util.errors import ConfigError, DataError

PLAN = TrainingPlan(
    seed=0, site="a", round=1, rounds=1, epochs=1, batch_size=16, lr=2e-3, weight_decay=0.01
)


def labelled(beats, *counts):
    """The cohort's first beats, relabelled as the given numbers of N, S, V, F and Q."""
    classes = np.repeat(np.arange(5), counts)
    (shard,) = beats.shards
    labels = shard.labels.copy()
    labels[: len(classes)] = np.eye(5, dtype=np.int8)[classes]
    return Cohort.of(beats.task, [replace(shard, labels=labels)]).take(np.arange(len(classes)))


def class_counts(cohort, imbalance, rng):
    """How many examples of each class one epoch takes."""
    order = epoch_order(cohort, imbalance, 0, rng)
    return np.bincount(cohort.labels[order].argmax(axis=1), minlength=5)


def test_classes_that_cannot_be_learnt_are_not_trained_on(beats, rng):
    some = labelled(beats, 40, 10, 10, 5, 5)
    assert len(trainable_examples(some)) == 60
    assert class_counts(some, "none", rng).tolist() == [40, 10, 10, 0, 0]


def test_a_thinned_epoch_takes_a_quarter_of_the_most_frequent_class(beats, rng):
    some = labelled(beats, 80, 10, 10, 0, 0)
    passes = np.array([class_counts(some, "thinned", rng) for _ in range(100)])
    assert (passes[:, 1:3] == 10).all()
    assert passes[:, 0].mean() == pytest.approx(20, abs=2)


def test_a_balanced_epoch_takes_every_class_equally_often(beats, rng):
    some = labelled(beats, 80, 15, 5, 0, 0)
    passes = np.array([class_counts(some, "balanced", rng) for _ in range(100)])
    assert (passes.sum(axis=1) == 40).all()  # as many as a thinned one: 20 + 15 + 5
    np.testing.assert_allclose(passes.mean(axis=0)[:3], 40 / 3, atol=1.5)


@pytest.mark.parametrize("imbalance", IMBALANCE)
def test_an_epoch_of_a_site_with_two_beats_is_never_empty(beats, rng, imbalance):
    two_normal_beats = labelled(beats, 2, 0, 0, 0, 0)
    epochs = [epoch_order(two_normal_beats, imbalance, 0, rng) for _ in range(50)]
    assert all(1 <= len(order) <= 2 for order in epochs)


def test_a_site_without_a_trainable_beat_is_named(beats):
    only_fusion_beats = labelled(beats, 0, 0, 0, 5, 0)
    with pytest.raises(DataError, match=r"a: none of its 5 .* trains on \(N, S, V\)"):
        fit(build_network("beat_cnn", BEAT), only_fusion_beats, PLAN)


def test_a_weight_is_the_mean_count_over_the_class_count_and_at_most_ten(beats):
    weights = class_weights(labelled(beats, 60, 1, 29, 5, 0), "weighted")
    assert weights.tolist() == pytest.approx([0.5, 10, 30 / 29, 1, 1])
    assert class_weights(labelled(beats, 60, 1, 29, 5, 0), "thinned") is None


def test_the_epoch_of_an_empty_cohort_is_empty(beats, rng):
    empty = beats.take(np.zeros(0, dtype=np.int64))
    for imbalance in IMBALANCE:
        assert len(epoch_order(empty, imbalance, 0, rng)) == 0


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
def test_focal_loss_gives_less_weight_to_what_is_already_right(task):
    n = len(task.classes)
    logits, labels = torch.zeros(1, n), torch.eye(n)[[1]]
    p = 1 / 5 if task.exclusive else 1 / 2
    plain = task_loss(task, logits, labels).item()
    assert task_loss(task, logits, labels, focus=focal_exponent("focal")).item() == pytest.approx(
        plain * (1 - p) ** 2
    )
    certain = logits + 20 * (2 * labels - 1)
    assert task_loss(task, certain, labels, focus=2.0).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("imbalance", IMBALANCE)
def test_every_remedy_trains(beats, imbalance):
    some = labelled(beats, 40, 12, 12, 2, 0)
    torch.manual_seed(0)
    fitted = fit(build_network("beat_cnn", BEAT), some, replace(PLAN, imbalance=imbalance))
    assert np.isfinite(fitted.loss_sum)
    assert fitted.steps in (2, 3, 4)


def test_the_task_gives_the_default_remedy_and_batch_size():
    assert RunConfig(task="beat").imbalance == "thinned"
    assert RunConfig(task="beat").batch_size == 128
    assert RunConfig().imbalance == "none"
    assert RunConfig().batch_size == 8
    assert RunConfig(task="beat", imbalance="focal", batch_size=7).batch_size == 7


def test_choosing_examples_by_class_is_only_for_beats():
    with pytest.raises(ConfigError, match="for beats"):
        load_config({"imbalance": "balanced"})
