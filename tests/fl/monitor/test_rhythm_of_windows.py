"""The rhythm classes of every ten seconds: as `fl.predict` answers the same ten seconds."""

import numpy as np
import pytest
from support.rules import even_rule
from support.saved_models import save_model

from fl.ecg.records import Record
from fl.ecg.tasks import BEAT, RHYTHM
from fl.evaluation.decisions.thresholds import POOLED_SOURCE
from fl.monitor.demonstration import FS, demonstration
from fl.monitor.rhythm_windows import RhythmWindows, load_rhythm_model
from fl.predict.inference import predict_recording
from fl.util.errors import ConfigError

LEADS = ("II", "V1")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    rule = even_rule(RHYTHM.classes, threshold=0.5).model_dump()
    folder = tmp_path_factory.mktemp("rhythm")
    return load_rhythm_model(save_model(folder, "cnn_simple", "rhythm", decision=rule))


@pytest.mark.parametrize("piece", [37, 3600, 9000])
def test_each_ten_seconds_are_answered_as_a_recording_of_ten_seconds(model, piece):
    signal = demonstration().signal[:, : round(25 * FS)]
    windows, found = RhythmWindows(model, LEADS, FS), []
    for start in range(0, signal.shape[1], piece):
        found += windows.push(signal[:, start : start + piece])
    size = round(10 * FS)
    assert [window.start for window in found] == [0, size]  # the last five seconds are no window
    for window in found:
        record = Record(
            source="",
            name="",
            patient="",
            signal=signal[:, window.start : window.start + size],
            leads=LEADS,
            fs=FS,
            labels=None,
        )
        (expected,) = predict_recording(
            model, record, "", source=POOLED_SOURCE, windows=False, detector=""
        ).findings
        assert window.facts["p"] == expected.p
        assert window.facts["classes"] == list(expected.predicted)


def test_ten_seconds_without_a_signal_are_not_answered(model):
    windows = RhythmWindows(model, LEADS, FS)
    (window,) = windows.push(np.zeros((2, round(10 * FS)), dtype=np.float32))
    assert "flat" in window.facts["cannot_say"]
    assert "p" not in window.facts
    assert not windows.present


def test_a_model_of_heartbeats_is_refused(tmp_path):
    rule = even_rule(BEAT.classes, otherwise="N").model_dump()
    with pytest.raises(ConfigError, match=r"--rhythm-weights .*'beat'.* give .* with --weights"):
        load_rhythm_model(save_model(tmp_path, "beat_cnn", "beat", decision=rule))
