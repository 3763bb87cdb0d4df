"""A beat of the monitor gets what the model was trained on."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rules import even_rule
from support.saved_models import save_model

from fl.ecg.filters import remove_baseline, resample, windows_around
from fl.ecg.records import Annotations, Record
from fl.ecg.tasks import BEAT_CAUSAL
from fl.monitor.beat_classifier import BeatClassifier, load_beat_model
from fl.monitor.beat_history import BeatHistory
from fl.monitor.demonstration import beat_times, demonstration
from fl.monitor.lead_filter import LeadFilter
from fl.predict.inference import predict_recording
from fl.util.errors import ConfigError

FS = 180.0
RULE = even_rule(BEAT_CAUSAL.classes, otherwise="N")


def recording(beats=160, seed=0):
    """A recording with irregular beats of changing shape, and its R peaks."""
    rng = np.random.default_rng(seed)
    peaks = np.cumsum(rng.choice([0.5, 0.8, 0.82, 1.1], beats) + rng.normal(0, 0.02, beats)) + 1
    t = np.arange(round((peaks[-1] + 2) * 360)) / 360
    signal = rng.normal(0, 0.02, len(t)) + 0.3 * np.sin(t)
    for peak in peaks:
        size, width = rng.choice([1.0, 1.6]), rng.choice([0.011, 0.03])
        near = np.abs(t - peak) < 0.5
        signal[near] += size * np.exp(-(((t[near] - peak) / width) ** 2) / 2)
        signal[near] += 0.2 * np.exp(-(((t[near] - peak - 0.26) / 0.045) ** 2) / 2)
    return Record(
        source="",
        name="made",
        patient="",
        signal=signal[None].astype(np.float32),
        leads=("II",),
        fs=360.0,
        labels=None,
    ), np.rint(peaks * 360).astype(np.int64)


def test_features_and_signals_are_those_of_the_whole_recording():
    record, peaks = recording()
    labels = np.zeros((len(peaks), 5), dtype=np.int8)
    offline = BEAT_CAUSAL.make_examples.from_peaks(record, peaks, labels)
    lead = remove_baseline(resample(record.signal, 360.0, FS), FS)
    windows = windows_around(lead, np.rint(peaks / 2).astype(np.int64), 48, 80)[:, 0]
    history = BeatHistory()
    found = [one for beat in zip(windows, peaks / 360, strict=True) for one in history.push(*beat)]
    np.testing.assert_allclose([one.features for one in found], offline.features, atol=1e-5)
    np.testing.assert_allclose([one.signal for one in found], offline.signals, atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(
    fs=st.sampled_from([100.0, 128.0, 180.0, 250.0, 257.0, 360.0, 500.0, 1000.0]),
    size=st.integers(1, 400),
    seconds=st.floats(0.02, 4),
)
def test_the_lead_is_filtered_as_a_whole_recording_is(fs, size, seconds):
    rng = np.random.default_rng(1)
    signal = (rng.normal(0, 0.2, max(1, round(seconds * fs))).cumsum() * 0.1 + 2).astype(np.float32)
    whole = remove_baseline(resample(signal[None], fs, FS), FS)[0]
    stream = LeadFilter(fs, FS)
    parts = [stream.push(signal[i : i + size]) for i in range(0, len(signal), size)]
    early = sum(map(len, parts))
    found = np.concatenate([*parts, stream.finish()])
    assert len(found) == len(whole)
    assert len(whole) - early <= stream.delay * FS + 2
    away = slice(20, -20) if len(whole) > 60 else slice(0, 0)  # the ends are continued differently
    np.testing.assert_allclose(found[away], whole[away], atol=0.02)


@pytest.mark.parametrize("model", ["beat_gru_causal", "beat_cnn", "beat_mlp"])
def test_the_classes_are_those_that_predict_gives(tmp_path, model):
    path = save_model(tmp_path, model, "beat-causal", decision=RULE.model_dump())
    saved = load_beat_model(path, "pooled")
    record, peaks = recording(beats=130)
    lead = remove_baseline(resample(record.signal, 360.0, FS), FS)
    windows = windows_around(lead, np.rint(peaks / 2).astype(np.int64), 48, 80)[:, 0]
    classifier = BeatClassifier(saved, "pooled")
    found = [classifier.push(*beat) for beat in zip(windows, peaks / 360, strict=True)]
    assert found[0] is None
    offline = offline_probabilities(saved, record, peaks)
    online = np.array([list(one.p.values()) for one in found[1:]])
    np.testing.assert_allclose(online[:62], offline[1:63], atol=2e-3)
    np.testing.assert_allclose(online[:-64], offline[1:-64], atol=2e-3)


def offline_probabilities(saved, record, peaks):
    notes = Annotations(samples=peaks, symbols=("N",) * len(peaks), rhythms=("",) * len(peaks))
    noted = replace(record, annotations=notes)
    answer = predict_recording(saved, noted, "x", source="pooled", windows=False, detector="")
    classes = saved.task.classes
    return np.array(
        [[one.p[c] if one.p[c] is not None else np.nan for c in classes] for one in answer.findings]
    )


def test_a_model_that_reads_later_beats_is_refused(tmp_path):
    path = save_model(tmp_path, "beat_cnn", "beat", decision=RULE.model_dump())
    with pytest.raises(
        ConfigError, match=r"task 'beat', which reads what comes later.*beat-causal"
    ):
        load_beat_model(path, "pooled")


def test_the_demonstration_has_a_run_of_v():
    assert sum(ventricular for _, ventricular in beat_times()) >= 3
    assert demonstration().leads == ("II", "V1")
