"""The same samples give the same events however they arrive, and no event needs later samples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rules import even_rule
from support.saved_models import save_model

from fl.ecg.tasks import BEAT_CAUSAL
from fl.monitor.beat_classifier import BeatClassifier, load_beat_model
from fl.monitor.demonstration import FS, demonstration
from fl.monitor.stream import Monitor


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    rule = even_rule(BEAT_CAUSAL.classes, threshold=0.2, otherwise="N")
    folder = tmp_path_factory.mktemp("model")
    path = save_model(folder, "beat_gru_causal", "beat-causal", decision=rule.model_dump())
    return load_beat_model(path, "pooled")


def events(signal, parts, model=None):
    """The lines of all events, the samples arriving in parts of these sizes, again and again."""
    classifier = BeatClassifier(model, "pooled") if model else None
    monitor, found, start, number = Monitor(("II", "V1"), FS, classifier), [], 0, 0
    while start < signal.shape[1]:
        size = parts[number % len(parts)]
        found += monitor.push(signal[:, start : start + size])
        start, number = start + size, number + 1
    return [event.line for event in [*found, *monitor.finish()]]


@pytest.fixture(scope="module")
def signal():
    made = demonstration().signal[:, : round(14 * FS)].copy()
    made[0, 2000:2010] = np.nan
    return made


@pytest.fixture(scope="module")
def usual(signal, model):
    found = events(signal, [50], model)
    assert sum('"beat"' in line for line in found) > 10
    return found


@settings(max_examples=8, deadline=None)
@given(parts=st.lists(st.integers(1, 700), min_size=1, max_size=6))
def test_any_chunking_gives_the_same_events(signal, usual, model, parts):
    assert events(signal, parts, model) == usual


@pytest.mark.parametrize("at", [7.0, 9.13])
def test_no_event_needs_samples_after_it_was_reported(signal, model, at):
    changed = signal.copy()
    changed[:, round(at * FS) :] = np.random.default_rng(0).normal(
        0, 1, changed[:, round(at * FS) :].shape
    )

    def known_before(samples):
        monitor = Monitor(("II", "V1"), FS, BeatClassifier(model, "pooled"))
        return [e.line for e in monitor.push(samples) if e.known <= at * FS]

    before = known_before(signal)
    assert before == known_before(changed)
    assert sum('"beat"' in line for line in before) > 2


def test_a_lead_other_than_ii_gives_beats_without_a_class(signal, model):
    monitor = Monitor(("V1",), FS, BeatClassifier(model, "pooled"))
    found = monitor.push(signal[1:])
    assert monitor.lead == "V1"
    assert {e.facts["class"] for e in found if e.kind == "beat"} == {None}


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_a_stream_without_a_usable_sample_is_a_loose_lead(value):
    monitor = Monitor(("II",), FS)
    found = [*monitor.push(np.full((1, 3000), value, dtype=np.float32)), *monitor.finish()]
    (raised,) = [e for e in found if e.kind == "alarm raised"]
    assert raised.facts["detail"].startswith("lead off")
    assert found[-1].facts["missing_samples"] == 3000


def test_noise_cannot_be_monitored(signal):
    rng = np.random.default_rng(0)
    noisy = np.concatenate([signal[0], rng.normal(0, 1, round(20 * FS)).astype(np.float32)])
    kinds = [e.kind for e in Monitor(("II",), FS).push(noisy[None])]
    assert "cannot monitor" in kinds
