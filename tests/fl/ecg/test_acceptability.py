"""What is no ECG is refused with the right reason, and ECGs are not refused."""

from pathlib import Path

import numpy as np
import pytest
from support.made_ecg import FS, heartbeats, noise, tone

from fl.datasets.synthetic import SYNTHETIC
from fl.ecg.acceptability import assess, assess_as_sampled, assess_recording, evident_rate
from fl.ecg.filters import resample


def reason(signal, fs=FS):
    return assess(signal, [f"V{i}" for i in range(len(signal))], fs).reason


@pytest.mark.parametrize("rate", [25, 40, 75, 180, 280])  # per minute
def test_heartbeats_of_any_plausible_rate_are_accepted(rate):
    assert reason(heartbeats(rate)) == ""


def test_recordings_of_every_class_are_accepted():
    names = SYNTHETIC.record_names(Path())[:30]
    records = [SYNTHETIC.read(Path(), name) for name in names]
    assert [assess(r.signal, r.leads, r.fs).reason for r in records] == [""] * 30


@pytest.mark.parametrize("kind", ["white", "pink", "brown", "muscle"])
def test_noise_is_refused(kind):
    assert {reason(noise(kind, seed=seed)) for seed in range(5)} == {"noise"}


@pytest.mark.parametrize("frequency", [1, 2, 5, 8, 10, 20, 30, 40])
def test_a_tone_is_refused(frequency):
    assert reason(tone(frequency)) == "tone"


@pytest.mark.parametrize("frequency", [50, 60])
def test_mains_hum_is_refused_and_heartbeats_under_hum_are_not(frequency):
    assert reason(tone(frequency) + 0.05 * noise("white")) == "mains"
    assert reason(heartbeats(70) + 0.5 * tone(frequency)) == ""


def test_a_flat_line_is_refused():
    assert reason(np.full((2, 2500), 0.3, dtype=np.float32)) == "flat"


def test_heartbeats_behind_the_rails_of_an_amplifier_are_refused():
    assert reason((20 * heartbeats(70)).clip(-0.2, 0.2)) == "saturated"


@pytest.mark.parametrize(("rate", "expected"), [(12, "slow"), (330, "fast")])
def test_an_implausible_heart_rate_is_refused(rate, expected):
    verdict = assess_as_sampled(heartbeats(rate, seconds=60), ["I"], FS)
    assert verdict.reason == expected
    assert f"({rate} per minute)" in verdict.sentence


@pytest.mark.parametrize(("true", "claimed"), [(500.0, 50.0), (500.0, 100.0), (100.0, 500.0)])
def test_a_wrong_sampling_rate_is_named_with_one_that_fits(true, claimed):
    signal = resample(heartbeats(55, seconds=60), FS, true)
    verdict = assess(signal, ["I"], claimed)
    assert verdict.reason == "rate"
    assert f"at {true:g} Hz" in verdict.sentence


def test_noise_has_no_better_sampling_rate():
    assert evident_rate(noise("white", seconds=100), FS) is None


def test_one_readable_lead_is_enough_and_the_others_have_their_reason():
    verdict = assess(np.vstack([noise("white"), heartbeats(70), tone(8)]), ["I", "II", "V1"], FS)
    assert verdict.reason == ""
    assert {q.lead: q.reason for q in verdict.leads} == {"I": "noise", "II": "", "V1": "tone"}


@pytest.mark.parametrize("scale", [1e-3, 1.0, 300.0])
def test_the_unit_does_not_matter(scale):
    assert reason(scale * heartbeats(70)) == ""
    assert reason(scale * noise("pink")) == "noise"


@pytest.mark.slow
def test_a_long_recording_is_judged_by_most_of_its_minutes():
    mostly = np.hstack([heartbeats(70, seconds=400), noise("white", seconds=200)])
    assert assess_recording(mostly, ["I"], FS).reason == ""
    seldom = np.hstack([heartbeats(70, seconds=200), noise("white", seconds=400)])
    assert assess_recording(seldom, ["I"], FS).reason == "noise"
