"""Signals in MATLAB files of version 4, 5 and 7.3."""

import struct
import sys

import numpy as np
import pytest
from scipy.io import savemat
from support.small_records import edit, waves, write

from fl.datasets.readers.wfdb_signals import ARRAY_NOTE, CHECKSUM_NOTE, read_waveform
from fl.util.errors import UnusableRecord

SIGNAL = waves(2, 4000)
STORED = np.round(SIGNAL * 1000).astype(np.int16)


def read(stem):
    return read_waveform(stem, name=stem.name, rates=(), unit="mV")


def record(folder):
    """A record in Challenge form, whose .mat a test replaces."""
    return write(folder, "A1", leads=("I", "II"), signal=SIGNAL, mat=True)


def version_4(stem, rows=2, kind=30):
    samples = stem.with_suffix(".mat").read_bytes()[24:]
    head = struct.pack("<iiiii", kind, rows, len(samples) // 2 // rows, 0, 4) + b"val\0"
    stem.with_suffix(".mat").write_bytes(head + samples)


def refusal(stem):
    with pytest.raises(UnusableRecord) as error:
        read(stem)
    return error.value


@pytest.mark.parametrize(
    "array", [STORED.T, STORED, STORED.T.astype(float)], ids=["rows", "columns", "double"]
)
def test_a_version_5_file_gives_the_same_millivolts(tmp_path, array):
    stem = record(tmp_path)
    expected = read(stem).signal
    savemat(stem.with_suffix(".mat"), {"val": array})
    wave = read(stem)
    np.testing.assert_array_equal(wave.signal, expected)
    assert wave.notes == (ARRAY_NOTE.format("5"),)


def test_the_only_array_with_a_row_for_each_lead_is_read_whatever_its_name(tmp_path):
    stem = record(tmp_path)
    expected = read(stem).signal
    savemat(stem.with_suffix(".mat"), {"ecg": STORED.T, "fs": 500, "note": "x"})
    np.testing.assert_array_equal(read(stem).signal, expected)


def test_a_version_5_file_with_another_signal_does_not_match_the_checksum(tmp_path):
    stem = record(tmp_path)
    savemat(stem.with_suffix(".mat"), {"val": STORED.T[::-1]})
    assert refusal(stem).reason == "checksum"


def test_nan_in_an_array_is_a_missing_sample(tmp_path):
    stem = record(tmp_path)
    with_gap = STORED.T.astype(float)
    with_gap[0, 100:110] = np.nan
    savemat(stem.with_suffix(".mat"), {"val": with_gap})
    edit(stem.with_suffix(".hea"), "A1 2 500 4000", "A1 2 500")
    header = stem.with_suffix(".hea")
    header.write_text(
        "A1 2 500\nA1.mat 16+24 1000/mV 16 0 0 0 0 I\nA1.mat 16+24 1000/mV 16 0 0 0 0 II\n"
    )
    gap = read(stem).signal[0, 99:111]
    np.testing.assert_allclose(np.diff(gap), np.diff(gap).mean(), atol=1e-5)


def test_fractions_are_read_only_where_no_gain_changes_them(tmp_path):
    stem = record(tmp_path)
    savemat(stem.with_suffix(".mat"), {"val": SIGNAL.T})
    assert "has fractions" in refusal(stem).detail
    edit(stem.with_suffix(".hea"), "1000.0(0)/mV", "1(0)/mV")
    wave = read(stem)
    np.testing.assert_allclose(wave.signal, SIGNAL.T, atol=1e-6)
    assert CHECKSUM_NOTE in wave.notes


@pytest.mark.parametrize(
    "arrays", [{"x": np.ones((3, 9))}, {"text": "none"}, {"a": STORED, "b": STORED}]
)
def test_a_file_without_an_array_for_the_leads_is_named(tmp_path, arrays):
    stem = record(tmp_path)
    savemat(stem.with_suffix(".mat"), arrays)
    verdict = refusal(stem)
    assert verdict.reason == "bad-signal"
    assert "accepted: an array `val` of 2 rows" in verdict.detail


def test_an_array_that_is_too_short_is_truncated(tmp_path):
    stem = record(tmp_path)
    savemat(stem.with_suffix(".mat"), {"val": STORED.T[:, :3000]})
    assert refusal(stem).reason == "truncated"


def test_a_broken_version_5_file_has_a_verdict(tmp_path):
    stem = record(tmp_path)
    savemat(stem.with_suffix(".mat"), {"val": STORED.T})
    stem.with_suffix(".mat").write_bytes(stem.with_suffix(".mat").read_bytes()[:300])
    assert refusal(stem).reason == "bad-signal"


def test_a_version_7_3_file_without_h5py_is_named_with_the_install_line(tmp_path, monkeypatch):
    stem = record(tmp_path)
    stem.with_suffix(".mat").write_bytes(
        b"MATLAB 7.3 MAT-file, Platform".ljust(512) + b"\x89HDF\r\n\x1a\n"
    )
    monkeypatch.setitem(sys.modules, "h5py", None)
    verdict = refusal(stem)
    assert verdict.reason == "bad-signal"
    assert "A1.mat is a MATLAB 7.3 file (HDF5); to read it: pip install h5py" in verdict.detail


def test_a_version_7_3_file_gives_the_same_millivolts(tmp_path):
    h5py = pytest.importorskip("h5py")
    stem = record(tmp_path)
    expected = read(stem).signal
    with h5py.File(stem.with_suffix(".mat"), "w", userblock_size=512) as file:
        file["val"] = STORED  # MATLAB's array is its transpose
    wave = read(stem)
    np.testing.assert_array_equal(wave.signal, expected)
    assert wave.notes == (ARRAY_NOTE.format("7.3"),)
    stem.with_suffix(".mat").write_bytes(stem.with_suffix(".mat").read_bytes()[:900])
    assert refusal(stem).reason == "bad-signal"


def test_a_version_4_file_is_what_its_header_says(tmp_path):
    stem = record(tmp_path)
    expected = read(stem).signal
    version_4(stem)
    np.testing.assert_array_equal(read(stem).signal, expected)
    edit(stem.with_suffix(".hea"), "16+24", "16")
    assert "Write the format as 16+24" in refusal(stem).detail


@pytest.mark.parametrize(("wrong", "detail"), [({"rows": 4}, "4 rows"), ({"kind": 0}, "type 0")])
def test_a_version_4_file_of_another_shape_or_type_is_refused(tmp_path, wrong, detail):
    stem = record(tmp_path)
    version_4(stem, **wrong)
    assert detail in refusal(stem).detail
