"""Networks that read features alone, and rows of them: training and predictions."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.plans import PLAN

from fl.data.cohort import Cohort
from fl.ecg.tasks import BEAT
from fl.models import build_network
from fl.training.augmentation import AUGMENTATIONS, MIXES_LABELS
from fl.training.class_imbalance import epoch_order
from fl.training.loop import fit, predict
from fl.training.losses import mean_loss
from fl.training.state_dict import get_weights
from fl.util.random_streams import stream

MODELS = ("beat_mlp", "beat_gru", "beat_gru_causal")
ROW_MODELS = ("beat_gru", "beat_gru_causal")
AUGMENT = tuple(name for name in AUGMENTATIONS if name not in MIXES_LABELS)
BEATS_PLAN = replace(PLAN, batch_size=16, epochs=2, imbalance="thinned", augment=BEAT.augment)


@pytest.fixture(scope="module")
def some(beats):
    """The beats of the first eight recordings."""
    return beats.take(np.flatnonzero(beats.recording_numbers < 8))


def fresh(model):
    torch.manual_seed(0)
    return build_network(model, BEAT)


def trained(model, cohort, plan=BEATS_PLAN):
    network = fresh(model)
    fitted = fit(network, cohort, plan)
    return get_weights(network), fitted


def same(one, other):
    return all(np.array_equal(one[name], other[name]) for name in one)


def with_column(cohort, name, changed):
    """The cohort with a column of its shards changed by a function."""
    shards = [replace(shard, **{name: changed(getattr(shard, name))}) for shard in cohort.shards]
    return Cohort(cohort.task, tuple(shards), cohort.shard, cohort.row)


@pytest.mark.parametrize("model", MODELS)
def test_the_same_seed_gives_the_same_bits_and_another_does_not(model, some):
    one, again = (trained(model, some) for _ in range(2))
    assert same(one[0], again[0])
    assert one[1].loss_sum == again[1].loss_sum
    assert not same(one[0], trained(model, some, replace(BEATS_PLAN, seed=1))[0])


@pytest.mark.parametrize("model", MODELS)
def test_training_counts_the_examples_of_its_epochs(model, some):
    _, fitted = trained(model, some)
    draws = stream(PLAN.seed, "fit", PLAN.site, PLAN.round)
    order = epoch_order(some, "thinned", 0, draws)
    assert abs(fitted.n_seen - 2 * len(order)) < 0.2 * len(order)  # epochs draw other N beats
    all_beats = trained(model, some, replace(BEATS_PLAN, imbalance="none"))[1]
    assert all_beats.n_seen == 2 * np.isin(some.labels.argmax(axis=1), [0, 1, 2]).sum()
    assert 0 < fitted.loss_sum / fitted.n_seen < 3


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("change", [{}, {"by_patient": True}, {"imbalance": "balanced"}])
def test_training_lowers_the_loss(model, change, some):
    network = fresh(model)
    before = mean_loss(BEAT, some.labels, predict(network, some))
    plan = replace(BEATS_PLAN, epochs=6, lr=5e-3, rounds=1)
    fit(network, some, replace(plan, **change))
    assert mean_loss(BEAT, some.labels, predict(network, some)) < 0.7 * before


@pytest.mark.parametrize("model", MODELS)
def test_signals_are_not_read(model, some):
    other = with_column(some, "signals", lambda s: np.full(len(s), np.nan, dtype=np.float16))
    assert same(trained(model, some)[0], trained(model, other)[0])
    np.testing.assert_array_equal(predict(fresh(model), other), predict(fresh(model), some))


@pytest.mark.parametrize("model", MODELS)
def test_every_augmentation_accepts_batches_without_signals(model, some):
    weights, _ = trained(model, some, replace(BEATS_PLAN, augment=AUGMENT))
    assert all(np.isfinite(values).all() for values in weights.values())


@pytest.mark.parametrize("model", MODELS)
def test_predictions_do_not_depend_on_the_batch_size_or_on_the_order(model, some, rng):
    network = fresh(model)
    p, order = predict(network, some), rng.permutation(len(some))
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    for size in (1, 7, 1000):
        np.testing.assert_allclose(predict(network, some, batch_size=size), p, atol=2e-7)
    np.testing.assert_allclose(predict(network, some.take(order)), p[order], atol=2e-7)


@pytest.mark.parametrize("model", MODELS)
def test_predictions_of_a_recording_do_not_depend_on_the_others(model, some):
    network = fresh(model)
    third = np.flatnonzero(some.recording_numbers == 3)
    alone, among = predict(network, some.take(third)), predict(network, some)[third]
    np.testing.assert_allclose(alone, among, atol=2e-7)


@pytest.mark.parametrize(("model", "unchanged"), [("beat_gru", False), ("beat_gru_causal", True)])
def test_only_without_later_beats_is_a_prediction_the_same_whatever_comes_after(
    model, unchanged, beats
):
    longest = np.bincount(beats.recording_numbers).argmax()
    one = beats.take(np.flatnonzero(beats.recording_numbers == longest))
    beat = int(one.row[0]) + len(one) // 2

    def changed_from(features):
        return np.where(np.arange(len(features))[:, None] >= beat, -features, features)

    network = fresh(model)
    before, after = (
        predict(network, one),
        predict(network, with_column(one, "features", changed_from)),
    )
    assert np.array_equal(before[: len(one) // 2], after[: len(one) // 2]) == unchanged
    assert not np.array_equal(before, after)


@pytest.mark.parametrize("model", ROW_MODELS)
def test_an_empty_cohort_has_no_predictions(model, some):
    assert predict(fresh(model), some.take(np.zeros(0, dtype=np.int64))).shape == (0, 5)
