"""Batches hold what their records hold, and epochs are fair to the patients."""

import numpy as np
import pytest
from support.recorders import Louder

from fl.data.cohort import Cohort
from fl.util.random_streams import stream


def naive(cohort, index, start):
    """The crop of one example, sample by sample."""
    shard = cohort.shards[cohort.shard[index]]
    row = cohort.row[index]
    length, at = shard.lengths[row], shard.offsets[row]
    signal = np.zeros((cohort.task.leads, cohort.task.samples), dtype=np.float32)
    for place, lead in enumerate(np.flatnonzero(shard.lead_mask[row])):
        recorded = shard.signals[at + place * length : at + (place + 1) * length]
        signal[lead] = [recorded[(start + i) % length] for i in range(cohort.task.samples)]
    return signal


def many_windows(cohort, per_recording=(7, 1, 3)):
    """The cohort as if its examples were windows of a few recordings."""
    shard = cohort.shards[0]
    names = np.repeat([f"R{i}" for i in range(len(per_recording))], per_recording)
    columns = {"recordings": names}
    rows = np.arange(len(names))
    changed = type(shard)(**{**vars(shard), **columns})
    return Cohort(cohort.task, (changed,), np.zeros_like(rows), rows)


def test_a_batch_is_what_the_records_hold(cohort, rng):
    chosen = np.array([150, 0, 119, 120, 179, 0])  # both sources, in any order, one twice
    starts = cohort.random_starts(chosen, rng)
    batch = cohort.batch(chosen, starts)
    for place, (index, start) in enumerate(zip(chosen, starts, strict=True)):
        np.testing.assert_array_equal(batch.signal[place], naive(cohort, index, start))
    np.testing.assert_array_equal(batch.labels, cohort.labels[chosen])


def test_beats_come_with_their_features(beats):
    chosen = np.array([5, 0, 17])
    batch = beats.batch(chosen, np.zeros(3, dtype=np.int64))
    np.testing.assert_array_equal(batch.features, beats.column("features")[chosen])
    for place, index in enumerate(chosen):
        np.testing.assert_array_equal(batch.signal[place], naive(beats, index, 0))


def test_a_part_of_a_cohort_gives_the_same_batches(cohort):
    chosen, zeros = np.array([7, 130, 44]), np.zeros(3, dtype=np.int64)
    part = cohort.take(chosen)
    np.testing.assert_array_equal(
        part.batch(np.arange(3), zeros).signal, cohort.batch(chosen, zeros).signal
    )
    assert part.names.tolist() == cohort.names[chosen].tolist()


def test_missing_leads_are_zero_and_marked(cohort):
    two_lead = np.flatnonzero(cohort.sources == "synthetic-2lead")[:4]
    batch = cohort.batch(two_lead, np.zeros(4, dtype=np.int64))
    recorded = np.isin(np.arange(12), [1, 6])  # II and V1
    assert (batch.lead_mask.numpy() == recorded).all()
    assert not batch.signal[:, ~recorded].any()
    assert batch.signal[:, recorded].any()


def test_a_short_recording_is_repeated_from_its_beginning(cohort):
    shard = cohort.shards[0]
    short = Cohort.of(
        cohort.task, [type(shard)(**{**vars(shard), "lengths": shard.lengths * 0 + 300})]
    )
    signal = short.batch(np.array([3]), np.array([0])).signal[0].numpy()
    np.testing.assert_array_equal(signal[:, 300:600], signal[:, :300])
    np.testing.assert_array_equal(signal[:, 900:], signal[:, :100])


def test_random_crops_lie_within_the_recording_and_reach_both_ends(cohort, rng):
    index = int(cohort.lengths.argmin())
    room = cohort.lengths[index] - cohort.task.samples
    starts = cohort.random_starts(np.full(5000, index), rng)
    assert starts.min() == 0
    assert starts.max() == room


@pytest.mark.parametrize("most", [1, 2, 4, 10])
def test_even_crops_cover_every_recording(cohort, most):
    example, starts = cohort.even_crops(most)
    samples = cohort.task.samples
    for index in range(len(cohort)):
        mine = starts[example == index]
        assert 1 <= len(mine) <= most
        assert mine[0] == 0
        assert mine[-1] + samples <= max(cohort.lengths[index], samples)
        if most * samples >= cohort.lengths[index]:
            assert mine[-1] + samples >= cohort.lengths[index]
            assert (np.diff(mine) <= samples).all()  # no sample is left out


@pytest.mark.parametrize("most", [1, 2, 5, 100])
def test_an_epoch_takes_at_most_so_many_of_each_recording(cohort, rng, most):
    windows = many_windows(cohort)
    order = windows.epoch(most, rng)
    counts = np.bincount(np.repeat([0, 1, 2], [7, 1, 3])[order])
    assert counts.tolist() == [min(most, n) for n in (7, 1, 3)]
    assert len(set(order.tolist())) == len(order)


@pytest.mark.parametrize("most", [0, 1, 2, 5])
def test_epoch_weights_are_how_often_an_epoch_takes_each_example(cohort, most):
    windows = many_windows(cohort)
    taken = np.zeros(len(windows))
    for i in range(400):
        taken[windows.epoch(most, stream(i, "epoch"))] += 1 / 400
    weights = windows.epoch_weights(most)
    assert weights.sum() == pytest.approx(taken.sum())
    np.testing.assert_allclose(taken, weights, atol=0.12)


def test_an_epoch_without_a_limit_takes_everything_once(cohort, rng):
    assert sorted(cohort.epoch(0, rng)) == list(range(len(cohort)))


def test_patients_and_recordings_of_two_sources_are_never_one(cohort):
    twice = Cohort.of(cohort.task, [cohort.shards[0], cohort.shards[1]])
    of = [set(twice.patients[twice.sources == s].tolist()) for s in np.unique(twice.sources)]
    assert not of[0] & of[1]


def test_a_cohort_of_nobody_is_no_trouble(cohort, rng):
    nobody = cohort.take(np.zeros(0, dtype=np.int64))
    assert len(nobody.epoch(5, rng)) == 0
    assert nobody.labels.shape == (0, 9)
    assert nobody.patients.tolist() == []
    assert len(nobody.even_crops(4)[0]) == 0


def test_joined_cohorts_keep_their_own_recorders(cohort):
    rows = np.arange(6)
    parts = [
        cohort.take(rows[:2]),
        cohort.take(rows[2:4]).through(Louder(2)),
        cohort.take(rows[4:]).through(Louder(3)),
    ]
    joined, starts = Cohort.joined(parts), np.zeros(6, dtype=np.int64)
    found = joined.batch(rows, starts)
    for i, part in enumerate(parts):
        own, at = part.batch(np.arange(2), starts[:2]), slice(2 * i, 2 * i + 2)
        np.testing.assert_array_equal(found.signal[at], own.signal)
        np.testing.assert_array_equal(found.lead_mask[at], own.lead_mask)
    picked = joined.take(np.array([5, 1, 2])).batch(np.arange(3), starts[:3])
    np.testing.assert_array_equal(picked.signal, found.signal[[5, 1, 2]])


def test_cohorts_of_other_data_are_not_joined(cohort, few):
    with pytest.raises(ValueError, match="different shards"):
        Cohort.joined([cohort, few])
