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
    added_log_odds,
    class_weights,
    epoch_order,
    focal_exponent,
    sampling_groups,
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


def test_an_oversampled_epoch_has_all_beats_and_the_rarer_ones_up_to_ten_times(beats, rng):
    some = labelled(beats, 80, 3, 20, 5, 0)
    order = epoch_order(some, "oversampled", 0, rng)
    counts = np.bincount(some.labels[order].argmax(axis=1), minlength=5)
    assert counts.tolist() == [80, 30, 80, 0, 0]
    assert set(order.tolist()) == set(trainable_examples(some).tolist())
    assert (np.diff(order) < 0).sum() > 20  # the copies are not at the end


def test_an_undersampled_epoch_has_as_many_of_each_class_as_of_the_rarest(beats, rng):
    some = labelled(beats, 80, 10, 20, 5, 0)
    epochs = [epoch_order(some, "undersampled", 0, rng) for _ in range(3)]
    for order in epochs:
        assert np.bincount(some.labels[order].argmax(axis=1)).tolist() == [10, 10, 10]
        assert len(set(order.tolist())) == 30
    assert set(epochs[0].tolist()) != set(epochs[1].tolist())
    assert class_counts(labelled(beats, 90, 2, 20, 0, 0), "undersampled", rng).tolist() == [
        *(9, 2, 2, 0, 0)  # at least a tenth of a class stays
    ]


def test_the_loss_takes_back_what_the_draw_changes_in_the_odds(beats):
    some = labelled(beats, 80, 4, 20, 5, 0)
    found = {name: added_log_odds(some, name) for name in IMBALANCE}
    assert found["thinned"].exp().tolist() == [0.25, 1, 1, 1, 1]
    assert found["oversampled"].exp().tolist() == pytest.approx([1, 10, 4, 1, 1])
    assert found["undersampled"].exp().tolist() == pytest.approx([0.1, 1, 0.2, 1, 1])
    assert [found[name] for name in ("none", "balanced", "weighted", "focal")] == [None] * 4


@pytest.mark.parametrize("imbalance", ["none", "thinned", "oversampled", "undersampled"])
def test_probabilities_are_those_of_all_beats_whatever_the_draw(beats, imbalance):
    """A network that sees nothing learns the classes' shares, and others without the log odds."""
    some = labelled(beats, 80, 4, 16, 0, 0)

    class Constant(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = torch.nn.Linear(1, 5)

        def forward(self, signal, lead_mask, features):
            return self.head(torch.zeros(len(signal), 1))

    network = Constant()
    fit(network, some, replace(PLAN, imbalance=imbalance, epochs=150, lr=0.1, batch_size=50))
    p = network.head.bias.softmax(dim=0)[:3]
    np.testing.assert_allclose(p.detach().numpy(), [0.8, 0.04, 0.16], atol=0.03)


def test_recordings_with_several_classes_are_drawn_by_the_rarest_of_them(cohort, rng):
    shown = np.zeros((20, 9), dtype=np.int8)
    shown[:12, 0] = 1
    shown[10:14, 4] = 1  # two of them with class 0 too
    shown[11, 7] = 1
    some = Cohort.of(RHYTHM, [replace(cohort.shards[0], labels=padded(cohort, shown))])
    some = some.take(np.arange(20))
    groups = sampling_groups(some)
    assert groups.tolist() == [0] * 10 + [4, 7, 4, 4] + [9] * 6
    order = epoch_order(some, "oversampled", 0, rng)
    assert np.bincount(groups[order], minlength=10)[[0, 4, 7, 9]].tolist() == [10] * 4
    order = epoch_order(some, "undersampled", 0, rng)
    assert np.bincount(groups[order], minlength=10)[[0, 4, 7, 9]].tolist() == [1] * 4
    odds = added_log_odds(some, "oversampled").exp()
    # Class 7: ten times its one positive; its 19 negatives become 30.
    assert odds[7].item() == pytest.approx(10 / (30 / 19))
    assert odds[8].item() == pytest.approx(1 / (40 / 20))
    assert np.array_equal(epoch_order(some, "none", 0, rng), np.sort(order)) is False


def padded(cohort, labels):
    full = cohort.shards[0].labels.copy()
    full[: len(labels)] = labels
    return full


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
    assert fitted.steps == {"oversampled": 8, "smote": 8}.get(imbalance, fitted.steps)
    assert 2 <= fitted.steps <= 8


def test_the_task_gives_the_default_remedy_and_batch_size():
    assert RunConfig(task="beat").imbalance == "thinned"
    assert RunConfig(task="beat").batch_size == 128
    assert RunConfig().imbalance == "none"
    assert RunConfig().batch_size == 8
    assert RunConfig(task="beat", imbalance="focal", batch_size=7).batch_size == 7


def test_choosing_examples_by_class_is_only_for_beats():
    with pytest.raises(ConfigError, match="for beats"):
        load_config({"imbalance": "balanced"})
