"""R peaks as a detector finds them change the answers of a fixed network little."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fl.data.cohort import Cohort
from fl.data.shards import shard_in_memory
from fl.ecg import beat_examples
from fl.ecg.qrs_detection import DOUBLED, MISSED, detector_errors
from fl.ecg.records import Annotations, Record
from fl.ecg.tasks import BEAT
from fl.models import build_network
from fl.training.loop import TrainingPlan, fit, predict
from fl.util.random_streams import stream

FS = 180.0
MOST = 0.05  # by which S F1 may be lower at detected peaks
BEATS = 500


def holter(number):
    """A made recording: N every 0.8 s, S early and without a P wave before it, V early and wide."""
    rng = np.random.default_rng(number)
    symbols = rng.choice(list("NSV"), size=BEATS, p=[0.86, 0.08, 0.06])
    symbols[:2] = "N"
    early = symbols != "N"
    intervals = 0.8 + rng.normal(0, 0.015, BEATS)
    intervals[early] *= rng.uniform(0.55, 0.75, early.sum())
    peaks = np.rint((1.0 + intervals.cumsum()) * FS).astype(np.int64)
    t = np.arange(peaks[-1] + 2 * int(FS)) / FS
    signal = 0.02 * rng.standard_normal(len(t))

    def wave(beat, at, height, width):
        signal[:] += height * np.exp(-(((t - peaks[beat] / FS - at) / width) ** 2) / 2)

    for beat, symbol in enumerate(symbols):
        wide = symbol == "V"
        wave(beat, 0, -1.3 if wide else 1.0, 0.045 if wide else 0.012)
        wave(beat, 0.25, 0.25, 0.04)
        if symbol == "N":
            wave(beat, -0.16, 0.12, 0.02)
    return Record(
        source="made",
        name=f"r{number}",
        patient=f"p{number}",
        signal=signal[None].astype(np.float32),
        leads=("II",),
        fs=FS,
        labels=None,
        annotations=Annotations(samples=peaks, symbols=tuple(symbols), rhythms=("",) * BEATS),
    )


def cohort(numbers):
    records = [holter(n) for n in numbers]
    return Cohort.of(BEAT, [shard_in_memory(BEAT, r, BEAT.make_examples(r)) for r in records])


def f1_of_s(network, tested):
    found = predict(network, tested).argmax(axis=1) == BEAT.classes.index("S")
    true = tested.labels[:, BEAT.classes.index("S")] == 1
    return 2 * (found & true).sum() / (found.sum() + true.sum())


def at_detected_peaks(tested):
    shards = [replace(s, features=s.detector_features) for s in tested.shards]
    return Cohort.of(BEAT, shards)


@pytest.fixture(scope="module")
def network():
    """A network that was trained once, as the task trains by default."""
    torch.manual_seed(0)
    network = build_network("beat_mlp", BEAT)
    plan = TrainingPlan(
        seed=0,
        site="a",
        round=1,
        rounds=1,
        epochs=12,
        batch_size=32,
        lr=BEAT.lr,
        weight_decay=0.01,
        augment=BEAT.augment,
        imbalance=BEAT.imbalance,
    )
    fit(network, cohort(range(6)), plan)
    return network


@pytest.mark.slow  # trains a network on recordings that it makes
def test_detected_peaks_lower_the_f1_of_s_by_less_than_a_twentieth(network):
    tested = cohort(range(10, 14))
    annotated, detected = f1_of_s(network, tested), f1_of_s(network, at_detected_peaks(tested))
    assert annotated > 0.9
    assert detected > annotated - MOST


def test_features_at_detected_peaks_differ_from_those_at_annotated_ones():
    tested = cohort([10])
    changed = (tested.features != tested.detector_features).any(axis=1)
    assert changed.mean() > 0.9


def test_a_detector_moves_misses_and_doubles_beats_at_the_stated_rates():
    peaks = np.arange(1, 20_001) * 150
    found, beat = detector_errors(peaks, FS, np.random.default_rng(0))
    assert (np.diff(found) > 0).all()
    assert 1 - np.isin(np.arange(len(peaks)), beat).mean() == pytest.approx(MISSED, abs=0.002)
    assert (beat < 0).sum() / len(peaks) == pytest.approx(DOUBLED, abs=0.002)
    true = beat >= 0
    moved = found[true] - peaks[beat[true]]
    assert 0 < np.abs(moved).max() <= 0.03 * FS


def test_a_beat_that_is_missed_keeps_its_own_features():
    record = holter(21)
    examples = BEAT.make_examples(record)
    drawn = stream(0, "detector", record.name)
    _, beat = detector_errors(record.annotations.samples, FS, drawn)
    missed = np.setdiff1d(np.arange(BEATS), beat)
    assert len(missed)
    assert np.array_equal(examples.detector_features[missed], examples.features[missed])
    kept = beat[beat >= 0]
    assert (examples.detector_features[kept] != examples.features[kept]).any(axis=1).mean() > 0.9


def test_a_recording_of_which_too_few_beats_are_left_keeps_its_features(monkeypatch):
    monkeypatch.setattr(
        beat_examples, "detector_errors", lambda peaks, fs, rng: (peaks[:2], np.arange(2))
    )
    examples = BEAT.make_examples(holter(22))
    assert np.array_equal(examples.detector_features, examples.features)
