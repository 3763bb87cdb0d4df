"""WFDB recordings: units, leads by name, unusable leads, gaps, and errors without patient data."""

import numpy as np
import pytest
from support.small_records import edit, waves, write

from fl.datasets.readers.wfdb_signals import read_waveform
from fl.util.errors import UnusableRecord


def read(stem, **options):
    return read_waveform(stem, **{"name": stem.name, "rates": (500.0,), "unit": "mV"} | options)


def test_samples_come_back_in_millivolts(tmp_path):
    signal = waves(2, 4000)
    wave = read(write(tmp_path, "A1", leads=("I", "II"), signal=signal))
    np.testing.assert_allclose(wave.signal, signal.T, atol=6e-4)
    assert wave.signal.dtype == np.float32
    assert (wave.leads, wave.fs, wave.dropped) == (("I", "II"), 500.0, ())


def test_leads_are_found_by_name_whatever_their_order(tmp_path):
    signal = waves(3, 4000)
    wave = read(write(tmp_path, "A1", leads=("V5", "avr", "MLII"), signal=signal))
    assert wave.leads == ("II", "aVR", "V5")
    np.testing.assert_allclose(wave.signal, signal.T[[2, 1, 0]], atol=6e-4)


def test_channels_that_are_not_leads_are_left_out(tmp_path):
    wave = read(write(tmp_path, "A1", leads=("vx", "II", "RESP")))
    assert wave.leads == ("II",)


def test_microvolts_become_millivolts(tmp_path):
    stem = write(tmp_path, "A1", leads=("II",), signal=waves(1, 4000))
    before = read(stem).signal
    edit(stem.with_suffix(".hea"), "1000.0(0)/mV", "1.0(0)/uV")
    np.testing.assert_allclose(read(stem).signal, before, atol=1e-6)


def spoil(signal, lead, kind):
    if kind == "flat":
        signal[:, lead] = 0.1
    elif kind == "missing":
        signal[:1000, lead] = np.nan
    else:
        signal[:, lead] = np.clip(200 * signal[:, lead], -1, 1)


@pytest.mark.parametrize("kind", ["flat", "missing", "clipped"])
def test_a_bad_lead_is_dropped_and_the_others_are_kept(tmp_path, kind):
    signal = waves(2, 4000)
    spoil(signal, 1, kind)
    wave = read(write(tmp_path, "A1", leads=("I", "II"), signal=signal))
    assert (wave.leads, wave.dropped) == (("I",), ("II",))


@pytest.mark.parametrize("kind", ["flat", "missing", "clipped"])
def test_a_record_of_bad_leads_alone_has_no_signal(tmp_path, kind):
    signal = waves(2, 4000)
    spoil(signal, slice(None), kind)
    with pytest.raises(UnusableRecord, match=f"I {kind}, II {kind}") as refused:
        read(write(tmp_path, "A1", leads=("I", "II"), signal=signal))
    assert refused.value.reason == "no-signal"


def test_a_short_gap_is_filled_by_a_straight_line(tmp_path):
    signal = waves(1, 4000)
    signal[2000:2010] = np.nan
    wave = read(write(tmp_path, "A1", leads=("II",), signal=signal))
    assert np.isfinite(wave.signal).all()
    steps = np.diff(wave.signal[0, 1999:2011])
    assert steps == pytest.approx(steps.mean(), abs=1e-5)


def test_a_header_without_lead_names_is_not_guessed(tmp_path):
    stem = write(tmp_path, "A1", leads=("II",))
    first, second, *_ = stem.with_suffix(".hea").read_text().splitlines()
    stem.with_suffix(".hea").write_text(f"{first}\n{' '.join(second.split()[:3])}\n")
    with pytest.raises(UnusableRecord) as refused:
        read(stem)
    assert refused.value.reason == "lead-names"


def test_any_sampling_rate_is_accepted_if_none_is_given(tmp_path):
    assert read(write(tmp_path, "A1", fs=333), rates=()).fs == 333


def test_an_error_names_the_rate_found_and_the_rate_accepted(tmp_path):
    with pytest.raises(UnusableRecord, match="fs is 333 Hz; accepted: 500 Hz"):
        read(write(tmp_path, "A1", fs=333))


def test_patient_fields_of_a_broken_header_stay_out_of_the_error(tmp_path):
    stem = write(tmp_path, "A1", comments=["Age: 74", "Name: Jane Roe"])
    edit(stem.with_suffix(".hea"), "A1 12 500", "A1 twelve 500")
    with pytest.raises(UnusableRecord) as refused:
        read(stem)
    assert "Roe" not in str(refused.value)
    assert "74" not in str(refused.value)
