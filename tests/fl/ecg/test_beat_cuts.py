"""Beats cut as by Kachuee et al. 2018: how long, in which scale, and which are left out."""

from dataclasses import replace

import numpy as np
import pytest
from support.made_ecg import heartbeats

from fl.data.cohort import Cohort
from fl.data.shards import shard_in_memory
from fl.ecg.beat_cuts import (
    CUT_FS,
    CUT_SAMPLES,
    PlainBeatMaker,
    cut_beats,
    infarction_beats,
    infarction_parts,
    infarction_recording,
)
from fl.ecg.labels import DOUBTFUL, UNKNOWN
from fl.ecg.qrs_detection import find_r_peaks
from fl.ecg.records import Annotations, Record
from fl.ecg.tasks import BEAT_PLAIN, MI, MI_12LEAD
from fl.util.errors import UnusableRecord

FS = 250.0


def record(rate=75, seconds=10.0, infarction=1, leads=("II",), **fields):
    """A recording in which a beat comes every 60 / `rate` seconds, from 0.4 s on."""
    signal = np.repeat(heartbeats(rate, seconds, FS), len(leads), axis=0)
    return Record(
        source="made-up",
        name="R1",
        patient="P1",
        signal=signal,
        leads=leads,
        fs=FS,
        labels=None,
        infarction=infarction,
        **fields,
    )


def annotated(rate=75, seconds=10.0, symbols="NVS"):
    peaks = np.arange(round(0.4 * FS), round(seconds * FS), round(60 / rate * FS))
    marks = tuple(symbols[i % len(symbols)] for i in range(len(peaks)))
    notes = Annotations(samples=peaks, symbols=marks, rhythms=("",) * len(peaks))
    return record(rate, seconds, annotations=notes)


def verdict(make, what):
    with pytest.raises(UnusableRecord) as refused:
        make(what)
    return refused.value.reason


def test_a_cut_has_1_2_median_intervals_and_then_zeros():
    lead = np.full(1250, 0.5, dtype=np.float32)
    lead[0], lead[1] = 0.0, 1.0
    peaks = np.array([100, 200, 300, 450])  # intervals of 100, 100 and 150 samples: T is 100
    cuts, whole = cut_beats(lead, peaks)
    assert cuts.shape == (4, CUT_SAMPLES)
    assert (cuts[:, :120] == 0.5).all()
    assert not cuts[:, 120:].any()
    assert whole.all()


def test_the_amplitude_goes_from_0_to_1_in_each_window_of_10_s():
    rng = np.random.default_rng(0)
    lead = rng.normal(size=2500).astype(np.float32)
    lead[1250:] *= 100  # the second window has its own scale
    cuts, _ = cut_beats(lead, np.arange(0, 2400, 100))
    first, second = cuts[:12, :120], cuts[13:, :100]
    for window, signal in ((first, lead[:1250]), (second, lead[1250:])):
        assert window.min() >= 0
        assert window.max() <= 1
        assert window.std() > 0.1
        assert signal.std() > 0
    low, high = lead[:1250].min(), lead[:1250].max()
    assert cuts[3, 7] == pytest.approx((lead[307] - low) / (high - low))


def test_a_cut_that_runs_into_the_next_window_keeps_its_own_scale():
    lead = np.zeros(2500, dtype=np.float32)
    lead[:1250:2], lead[1250:] = 1.0, 5.0
    cuts, whole = cut_beats(lead, np.array([1100, 1200]))
    assert whole.tolist() == [True, True]
    assert (cuts[1, 50:120] == 1).all()  # 5 is beyond the window's 1 and is clipped


def test_a_cut_past_the_end_is_not_whole_and_a_slow_heart_keeps_187_samples():
    lead = np.arange(1000, dtype=np.float32)
    cuts, whole = cut_beats(lead, np.array([100, 400, 700, 950]))  # T is 300 samples: 25 a minute
    assert whole.tolist() == [True, True, True, False]
    assert cuts[0, -1] > 0
    assert not cuts[3, 50:].any()


def test_a_flat_window_is_zero_and_one_r_peak_is_not_enough():
    cuts, _ = cut_beats(np.full(500, 3.0, dtype=np.float32), np.array([0, 100]))
    assert not cuts.any()
    with pytest.raises(ValueError, match="1 R peaks"):
        cut_beats(np.zeros(500, dtype=np.float32), np.array([100]))


@pytest.mark.parametrize("rate", [45, 75, 120, 170])
def test_r_peaks_are_found(rate):
    lead = heartbeats(rate, 10.0, CUT_FS, noise=0.03)[0]
    true = np.arange(0.4, 10, 60 / rate) * CUT_FS
    found = find_r_peaks(lead)
    assert len(found) == pytest.approx(len(true), abs=1)
    assert np.abs(found[:, None] - true).min(axis=1).max() <= 0.02 * CUT_FS


def test_a_recording_is_one_example_of_all_its_whole_beats():
    examples = infarction_beats(record(rate=75))
    beats = examples.signals[0].reshape(-1, CUT_SAMPLES)
    assert examples.names == ["R1"]
    assert examples.labels.tolist() == [[1]]
    assert len(beats) + examples.without_example == 12  # from 0.4 s on, every 0.8 s
    assert examples.without_example >= 1  # the last beat has less than 1.2 T after it
    assert (beats[:, :5].max(axis=1) > 0.9).all()  # each begins at its R peak
    assert not beats[:, 125:].any()  # 1.2 T is 120 samples
    assert beats.min() == 0
    assert beats.max() <= 1


@pytest.mark.parametrize(
    ("infarction", "expected"),
    [(UNKNOWN, "no-infarction-label"), (DOUBTFUL, "doubtful-infarction")],
)
@pytest.mark.parametrize("make", [infarction_beats, infarction_recording])
def test_a_recording_without_a_label_is_left_out_by_name(infarction, expected, make):
    assert verdict(make, record(infarction=infarction)) == expected


def test_a_recording_without_lead_two_or_without_beats_is_left_out():
    assert verdict(infarction_beats, record(leads=("V1",))) == "lead-names"
    flat = replace(record(), signal=np.zeros((1, 2500), dtype=np.float32))
    assert verdict(infarction_beats, flat) == "no-beats"


def test_the_twelve_lead_example_has_the_leads_of_the_rhythm_task():
    examples = infarction_recording(record(leads=("II", "V1"), infarction=0))
    assert (examples.leads, examples.labels.tolist()) == ((1, 6), [[0]])
    assert examples.signals[0].shape == (2, 1000)
    assert verdict(infarction_recording, record(seconds=3.0)) == "too-short"


def test_parts_of_a_recording_have_their_own_beats():
    quiet = record(seconds=30.0)
    quiet.signal[:, 2500:5000] = 0
    first, second, third = infarction_parts(quiet, [(0, 10), (10, 20), (20, 30)])
    assert second is None
    assert (first.names, third.names) == (["R1/0000s"], ["R1/0020s"])
    assert first.labels.tolist() == [[UNKNOWN]]


def test_every_annotated_beat_is_an_example_of_the_plain_task():
    made = annotated(seconds=30.0)
    examples = PlainBeatMaker()(made)
    assert len(examples.names) == len(made.annotations.samples)
    assert np.stack(examples.signals).shape == (len(examples.names), 1, CUT_SAMPLES)
    assert examples.labels.argmax(axis=1)[:3].tolist() == [0, 2, 1]
    assert examples.features.shape == (len(examples.names), 0)


def test_the_plain_task_refuses_paced_and_unannotated_recordings():
    assert verdict(PlainBeatMaker(), annotated(symbols="N/")) == "paced"
    assert verdict(PlainBeatMaker(), record()) == "no-annotation"
    assert verdict(PlainBeatMaker(), annotated(seconds=0.6)) == "no-annotation"


def test_beat_plain_and_mi_have_the_same_input():
    shape = [(task.leads, task.samples, task.fs, task.features) for task in (MI, BEAT_PLAIN)]
    assert shape[0] == shape[1] == (1, CUT_SAMPLES, CUT_FS, ())
    assert (MI_12LEAD.leads, MI_12LEAD.samples) == (12, 1000)


@pytest.fixture
def two():
    """Two recordings, of which one has more beats."""
    made = [record(), replace(record(seconds=40.0), name="R2", patient="P2")]
    return Cohort.of(MI, [shard_in_memory(MI, r, infarction_beats(r)) for r in made])


def test_a_crop_is_one_whole_beat(two, rng):
    starts = two.random_starts(np.repeat([0, 1], 500), rng)
    assert not (starts % CUT_SAMPLES).any()
    beats = two.lengths // CUT_SAMPLES
    for which, some in enumerate((starts[:500], starts[500:])):
        assert set(some // CUT_SAMPLES) == set(range(beats[which]))
    batch = two.batch(np.array([1]), np.array([CUT_SAMPLES]))
    assert batch.signal[0, 0, 0] > 0.9


def test_a_prediction_averages_over_different_beats(two):
    example, starts = two.even_crops(MI.crops)
    assert not (starts % CUT_SAMPLES).any()
    for which in (0, 1):
        own = starts[example == which]
        assert len(own) == min(MI.crops, two.lengths[which] // CUT_SAMPLES) == len(set(own))
