"""A batch has the samples of its records, and no patient dominates an epoch."""

import numpy as np
import pytest
from support.recorders import Louder

from fl.data.cohort import Cohort
from fl.util.random_streams import stream


def crop_by_hand(cohort, index, start):
    """The crop of one example, sample by sample."""
    shard = cohort.shards[cohort.shard[index]]
    row = cohort.row[index]
    length, offset = shard.lengths[row], shard.offsets[row]
    signal = np.zeros((cohort.task.leads, cohort.task.samples), dtype=np.float32)
    for number, lead in enumerate(np.flatnonzero(shard.lead_mask[row])):
        recorded = shard.signals[offset + number * length : offset + (number + 1) * length]
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


def test_a_batch_has_the_samples_of_its_records(cohort, rng):
    examples = np.array([150, 0, 119, 120, 179, 0])  # both sources, in any order, one twice
    starts = cohort.random_starts(examples, rng)
    batch = cohort.batch(examples, starts)
    for row, (index, start) in enumerate(zip(examples, starts, strict=True)):
        np.testing.assert_array_equal(batch.signal[row], crop_by_hand(cohort, index, start))
    np.testing.assert_array_equal(batch.labels, cohort.labels[examples])


def test_beats_come_with_their_features(beats):
    examples = np.array([5, 0, 17])
    batch = beats.batch(examples, np.zeros(3, dtype=np.int64))
    np.testing.assert_array_equal(batch.features, beats.column("features")[examples])
    for row, index in enumerate(examples):
        np.testing.assert_array_equal(batch.signal[row], crop_by_hand(beats, index, 0))


def test_a_part_of_a_cohort_gives_the_same_batches(cohort):
    examples, zeros = np.array([7, 130, 44]), np.zeros(3, dtype=np.int64)
    part = cohort.take(examples)
    np.testing.assert_array_equal(
        part.batch(np.arange(3), zeros).signal, cohort.batch(examples, zeros).signal
    )
    assert part.names.tolist() == cohort.names[examples].tolist()


def test_missing_leads_are_zero_and_masked(cohort):
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
    latest = cohort.lengths[index] - cohort.task.samples
    starts = cohort.random_starts(np.full(5000, index), rng)
    assert starts.min() == 0
    assert starts.max() == latest


@pytest.mark.parametrize("most", [1, 2, 4, 10])
def test_even_crops_cover_every_recording(cohort, most):
    example, starts = cohort.even_crops(most)
    samples = cohort.task.samples
    for index in range(len(cohort)):
        of_example = starts[example == index]
        assert 1 <= len(of_example) <= most
        assert of_example[0] == 0
        assert of_example[-1] + samples <= max(cohort.lengths[index], samples)
        if most * samples >= cohort.lengths[index]:
            assert of_example[-1] + samples >= cohort.lengths[index]
            assert (np.diff(of_example) <= samples).all()  # no sample is left out


@pytest.mark.parametrize("most", [1, 2, 5, 100])
def test_an_epoch_takes_at_most_the_given_number_of_each_recording(cohort, rng, most):
    windows = many_windows(cohort)
    order = windows.epoch(most, rng)
    counts = np.bincount(np.repeat([0, 1, 2], [7, 1, 3])[order])
    assert counts.tolist() == [min(most, n) for n in (7, 1, 3)]
    assert len(set(order.tolist())) == len(order)


@pytest.mark.parametrize("most", [0, 1, 2, 5])
def test_epoch_weights_are_the_probability_that_an_epoch_takes_each_example(cohort, most):
    windows = many_windows(cohort)
    taken = np.zeros(len(windows))
    for i in range(400):
        taken[windows.epoch(most, stream(i, "epoch"))] += 1 / 400
    weights = windows.epoch_weights(most)
    assert weights.sum() == pytest.approx(taken.sum())
    np.testing.assert_allclose(taken, weights, atol=0.12)


@pytest.mark.parametrize("most", [0, 2])
def test_weights_by_patient_sum_to_one_for_each_patient(cohort, most):
    windows = many_windows(cohort)
    weights = windows.patient_weights(most)
    for patient in set(windows.patients.tolist()):
        assert weights[windows.patients == patient].sum() == pytest.approx(1)
    taken = windows.epoch_weights(most)
    patient = windows.patients == windows.patients[0]
    np.testing.assert_allclose(weights[patient], taken[patient] / taken[patient].sum())


def test_in_the_loss_of_an_epoch_each_of_its_patients_counts_alike(cohort, rng):
    windows = many_windows(cohort)
    order = windows.epoch(3, rng)
    weights, patients = windows.loss_weights(order), windows.patients[order]
    assert weights.dtype == np.float32
    assert weights.mean() == pytest.approx(1)
    sums = [weights[patients == p].sum() for p in set(patients.tolist())]
    np.testing.assert_allclose(sums, len(order) / len(sums), rtol=1e-5)
    assert windows.loss_weights(order[:0]).shape == (0,)


def test_an_epoch_without_a_limit_takes_everything_once(cohort, rng):
    assert sorted(cohort.epoch(0, rng)) == list(range(len(cohort)))


def test_two_sources_have_no_patient_in_common(cohort):
    patients = [set(cohort.patients[cohort.sources == s].tolist()) for s in set(cohort.sources)]
    assert len(patients) == 2
    assert not patients[0] & patients[1]


def test_an_empty_cohort_has_empty_columns_and_epochs(cohort, rng):
    empty = cohort.take(np.zeros(0, dtype=np.int64))
    assert len(empty.epoch(5, rng)) == 0
    assert empty.labels.shape == (0, 9)
    assert empty.patients.tolist() == []
    assert len(empty.even_crops(4)[0]) == 0


def test_rare_classes_are_treated_as_not_annotated(cohort):
    positive, negative = ((cohort.labels == value).sum(axis=0) for value in (1, 0))
    rare = (positive < 40) | (negative < 40)
    masked = cohort.without_rare(40)
    assert 0 < rare.sum() < 9
    assert (masked.labels[:, rare] == -1).all()
    np.testing.assert_array_equal(masked.labels[:, ~rare], cohort.labels[:, ~rare])


def test_joined_cohorts_keep_their_own_recorders(cohort):
    rows = np.arange(6)
    parts = [
        cohort.take(rows[:2]),
        cohort.take(rows[2:4]).recorded_by(Louder(2)),
        cohort.take(rows[4:]).recorded_by(Louder(3)),
    ]
    joined, starts = Cohort.joined(parts), np.zeros(6, dtype=np.int64)
    batch = joined.batch(rows, starts)
    for i, part in enumerate(parts):
        of_part, in_joined = part.batch(np.arange(2), starts[:2]), slice(2 * i, 2 * i + 2)
        np.testing.assert_array_equal(batch.signal[in_joined], of_part.signal)
        np.testing.assert_array_equal(batch.lead_mask[in_joined], of_part.lead_mask)
    taken = joined.take(np.array([5, 1, 2])).batch(np.arange(3), starts[:3])
    np.testing.assert_array_equal(taken.signal, batch.signal[[5, 1, 2]])


def test_cohorts_of_other_data_are_not_joined(cohort, few):
    with pytest.raises(ValueError, match="different shards"):
        Cohort.joined([cohort, few])


def test_patients_are_counted_by_who_shows_a_column(cohort, rng):
    of = rng.random((len(cohort), 4)) < [0.0, 0.02, 0.3, 1.0]
    found = cohort.count_patients(of)
    assert found.tolist() == [len(np.unique(cohort.patients[marked])) for marked in of.T]
    assert cohort.n_patients == found[-1] == len(np.unique(cohort.patients))
    assert cohort.take(np.arange(0)).n_patients == 0


def test_each_source_has_its_own_examples(cohort):
    assert list(cohort.by_source) == sorted(set(cohort.sources.tolist()))
    for source, part in cohort.by_source.items():
        assert part.names.tolist() == cohort.names[cohort.sources == source].tolist()
        assert part.by_source == {source: part}
    assert cohort.take(np.arange(0)).by_source == {}


def test_no_class_is_rare_without_a_smallest_count_even_after_one(cohort):
    assert cohort.without_rare(0) is cohort
    masked = cohort.without_rare(40)
    assert masked.masked_classes
    assert not masked.without_rare(0).masked_classes
