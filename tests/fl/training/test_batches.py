"""The batches of an epoch: which examples they hold, and how much each counts in the loss."""

import numpy as np
import pytest
from support.made_cohorts import made_cohort

from fl.ecg.tasks import BEAT
from fl.models.network_input import NetworkInput
from fl.training.batches import ROW_BATCH, epoch_batches
from fl.util.random_streams import stream

ONE, ROWS = NetworkInput(), NetworkInput(signal=False, row=8)
SIZE = 16  # of a batch of examples; of rows, ROW_BATCH * 16 / 8


@pytest.fixture(scope="module")
def cohort():
    """Patients a, b and c with recordings of 100, 21 and 3 beats."""
    patients = np.repeat(["a", "b", "c"], [100, 21, 3])
    return made_cohort(patients, task=BEAT, recordings=patients)


def batches_of(cohort, order, read=ROWS, by_patient=False, seed=0):
    return epoch_batches(cohort, order, SIZE, read, by_patient, stream(seed, "batches"))


def weight_of_each(cohort, batches):
    """What each example counts in the sum of the losses of an epoch: (example,)."""
    total = np.zeros(len(cohort))
    for batch in batches:
        share = batch.counted / len(batch.examples)
        np.add.at(total, batch.examples, batch.weights.astype(float) * share)
    return total


@pytest.mark.parametrize("by_patient", [False, True])
def test_single_examples_are_taken_in_their_order_without_random_numbers(cohort, rng, by_patient):
    order, draws = rng.permutation(len(cohort))[:70], stream(0, "batches")
    batches = epoch_batches(cohort, order, SIZE, ONE, by_patient, draws)
    pieces = np.array_split(order, 5)
    assert [b.examples.tolist() for b in batches] == [piece.tolist() for piece in pieces]
    assert [b.counted for b in batches] == [14] * 5
    assert draws.random() == stream(0, "batches").random()
    weights = [b.weights for b in batches]
    if by_patient:
        np.testing.assert_array_equal(np.concatenate(weights), cohort.loss_weights(order))
    else:
        assert weights == [None] * 5


def test_every_example_of_the_epoch_counts_once_and_no_other(cohort, rng):
    """Also where rows overlap, and in a recording that is shorter than a row."""
    order = np.sort(rng.permutation(len(cohort))[:60])
    order = np.union1d(order, np.flatnonzero(cohort.patients == "made-up:c"))
    batches = batches_of(cohort, rng.permutation(order))
    counted = [b.examples[b.weights > 0] for b in batches]
    assert np.sort(np.concatenate(counted)).tolist() == order.tolist()
    assert [b.counted for b in batches] == [len(examples) for examples in counted]
    for batch in batches:
        assert len(batch.examples) % ROWS.row == 0
        assert len(batch.examples) <= ROW_BATCH * SIZE
        assert batch.weights.dtype == np.float32
        assert batch.weights.mean() == pytest.approx(1)
    taken = np.isin(np.arange(len(cohort)), order)
    np.testing.assert_allclose(weight_of_each(cohort, batches), taken, rtol=1e-6)


def test_rows_without_an_example_that_counts_are_left_out(cohort):
    of_b = np.flatnonzero(cohort.patients == "made-up:b")
    batches = batches_of(cohort, of_b[[9, 10]])
    examples = np.concatenate([b.examples for b in batches])
    assert set(examples.tolist()) <= set(of_b.tolist())
    assert len(examples) in (8, 16)  # the two are in one row or in two
    assert sum(b.counted for b in batches) == 2


def test_an_example_that_is_drawn_twice_counts_twice(cohort):
    order = np.array([5, 40, 5, 110, 5, 122])
    batches = batches_of(cohort, order)
    expected = np.bincount(order, minlength=len(cohort))
    np.testing.assert_allclose(weight_of_each(cohort, batches), expected, rtol=1e-6)
    assert sum(b.counted for b in batches) == len(order)


def test_every_patient_counts_alike_in_rows_too(cohort, rng):
    order = rng.permutation(len(cohort))
    weights = weight_of_each(cohort, batches_of(cohort, order, by_patient=True))
    by_patient = [weights[cohort.patients == p].sum() for p in np.unique(cohort.patients)]
    np.testing.assert_allclose(by_patient, len(order) / 3, rtol=1e-5)


def test_the_same_random_numbers_give_the_same_batches_and_others_do_not(cohort):
    order = np.arange(len(cohort))
    one, same, other = (
        [b.examples.tolist() for b in batches_of(cohort, order, seed=seed)] for seed in (0, 0, 1)
    )
    assert one == same != other
