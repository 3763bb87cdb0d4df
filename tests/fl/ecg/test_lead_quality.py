"""Flat stretches anywhere in a lead, and heartbeats of an impossible height."""

import numpy as np
import pytest
from support.small_records import edit, waves, write

from fl.datasets.readers.wfdb_signals import read_waveform
from fl.ecg.quality import flat_share, qrs_height
from fl.util.errors import UnusableRecord

FS = 500


def read(stem):
    return read_waveform(stem, name=stem.name, rates=(), unit="mV")


def refusal(stem):
    with pytest.raises(UnusableRecord) as error:
        read(stem)
    return error.value


@pytest.mark.parametrize("start", [0, 500, 1000])
@pytest.mark.parametrize("level", [0.0, 0.15])
def test_two_seconds_of_ecg_and_eight_of_a_line_are_not_ten_seconds(tmp_path, start, level):
    signal = waves(2, 5000)
    signal[start : start + 4000] = level
    verdict = refusal(write(tmp_path, "A1", leads=("I", "II"), signal=signal))
    assert (verdict.reason, verdict.detail) == ("no-signal", "I flat, II flat")


def test_several_shorter_lines_count_together(tmp_path):
    signal = waves(2, 5000)
    for start in (100, 2000, 4000):
        signal[start : start + 600, 0] = 0.1
    wave = read(write(tmp_path, "A1", leads=("I", "II"), signal=signal))
    assert (wave.leads, wave.dropped) == (("II",), ("I",))


def test_a_line_of_less_than_a_twentieth_of_the_time_is_kept(tmp_path):
    signal = waves(1, 20000)
    signal[5000:5900] = 0.1
    assert read(write(tmp_path, "A1", leads=("II",), signal=signal)).leads == ("II",)


def test_equal_samples_of_less_than_a_second_are_not_flat():
    coarse = np.round(waves(1, 5000)[:, 0])  # a recorder of 1 mV steps
    assert flat_share(coarse, FS) < 0.5
    steps = np.repeat(np.arange(20), 499)
    assert flat_share(steps, FS) == 0
    assert flat_share(np.zeros(1000), FS) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("height", [0.3, 1.0, 4.0])
def test_the_height_of_qrs_complexes_is_measured_without_the_baseline(height):
    t = np.arange(10 * FS) / FS
    beats = height * np.exp(-(((t % 0.8) - 0.4) ** 2) / (2 * 0.01**2))
    wander = np.sin(2 * np.pi * 0.2 * t)
    assert qrs_height((beats + wander).astype(np.float32), FS) == pytest.approx(height, rel=0.3)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("1000.0(0)/V", "mV; 0.05 to 20 mV"),
        ("1(0)/mV", "mV"),
        ("1000(0)/uV", "mV"),
        ("1(0)/nV", "mV"),
    ],
)
def test_heartbeats_that_no_heart_gives_are_a_verdict_with_their_height(tmp_path, field, value):
    stem = write(tmp_path, "A1", leads=("I", "II"), signal=waves(2, 4000))
    edit(stem.with_suffix(".hea"), "1000.0(0)/mV", field)
    verdict = refusal(stem)
    assert verdict.reason == "amplitude"
    assert verdict.detail.startswith("median QRS height ")
    assert value in verdict.detail


def test_one_lead_with_a_wrong_gain_is_masked(tmp_path):
    stem = write(tmp_path, "A1", leads=("I", "II", "V1"), signal=waves(3, 4000))
    header = stem.with_suffix(".hea")
    first, *lines = header.read_text().splitlines()
    lines[2] = lines[2].replace("1000.0(0)/mV", "1(0)/mV")
    header.write_text("\n".join([first, *lines]) + "\n")
    wave = read(stem)
    assert (wave.leads, wave.dropped) == (("I", "II"), ("V1",))


def test_an_amplitude_without_a_unit_is_not_judged(tmp_path):
    stem = write(tmp_path, "A1", leads=("I",), signal=waves(1, 4000) / 100, unit="NU")
    assert read_waveform(stem, name="A1", rates=(), unit="NU").leads == ("I",)
