"""Samples decoded here equal those that wfdb decodes, in every format that it writes or reads."""

import numpy as np
import pytest
from support.small_records import edit

from fl.datasets.readers import wfdb_access
from fl.datasets.readers.wfdb_header import parse_header
from fl.datasets.readers.wfdb_samples import MISSING, stored_samples
from fl.util.errors import UnusableRecord

BITS = {"16": 16, "212": 12, "80": 8, "24": 24, "32": 32, "508": 8, "516": 16, "524": 24}


def write(folder, fmt, leads, samples):
    """A record of random numbers in a format, and these numbers (sample, lead)."""
    top = 2 ** (BITS[fmt] - 1)
    signal = np.random.default_rng(samples).integers(-top, top, (samples, leads))
    signal[:3] = [[-top], [top - 1], [0]]
    wfdb_access.call(
        "wrsamp",
        "r",
        fs=250,
        units=["mV"] * leads,
        sig_name=["I", "II", "V1"][:leads],
        d_signal=signal,
        fmt=[fmt] * leads,
        adc_gain=[327.67] * leads,
        baseline=[7] * leads,
        write_dir=str(folder),
    )
    return folder / "r", signal


def read(stem):
    header = parse_header(stem.with_suffix(".hea").read_text().splitlines(), "r")
    return stored_samples(stem.with_suffix(".dat"), header, "r")[0]


@pytest.mark.parametrize("fmt", BITS)
@pytest.mark.parametrize(("leads", "samples"), [(1, 1001), (2, 1000), (3, 1001)])
def test_samples_equal_those_that_were_written(tmp_path, fmt, leads, samples):
    stem, signal = write(tmp_path, fmt, leads, samples)
    np.testing.assert_array_equal(read(stem), signal)
    assert signal.min() == MISSING[fmt]


@pytest.mark.parametrize("fmt", BITS)
@pytest.mark.parametrize("stated", ["0", ""])
def test_the_length_follows_from_the_file_where_the_header_has_none(tmp_path, fmt, stated):
    stem, signal = write(tmp_path, fmt, 3, 1001)
    edit(stem.with_suffix(".hea"), "r 3 250 1001", f"r 3 250 {stated}".strip())
    np.testing.assert_array_equal(read(stem), signal)


@pytest.mark.parametrize("fmt", ["8", "61", "160", "310", "311"])
def test_rare_formats_equal_what_wfdb_reads(tmp_path, fmt):
    content = np.random.default_rng(3).integers(0, 256, 4000, dtype=np.uint8)
    (tmp_path / "r.dat").write_bytes(content.tobytes())
    lines = [f"r.dat {fmt} 200/mV 12 0 5 0 0 {lead}" for lead in ("I", "II")]
    (tmp_path / "r.hea").write_text("\n".join(["r 2 250 900", *lines]) + "\n")
    expected = wfdb_access.call("rdrecord", str(tmp_path / "r"), physical=False, return_res=32)
    np.testing.assert_array_equal(read(tmp_path / "r"), expected.d_signal)


@pytest.mark.parametrize("fmt", BITS)
def test_a_file_that_is_too_short_is_truncated(tmp_path, fmt):
    stem, _ = write(tmp_path, fmt, 3, 1001)
    edit(stem.with_suffix(".hea"), "r 3 250 1001", "r 3 250 1009")
    with pytest.raises(UnusableRecord) as refused:
        read(stem)
    assert refused.value.reason == "truncated"


def test_a_file_of_no_whole_number_of_samples_is_refused_where_the_length_is_not_stated(tmp_path):
    stem, _ = write(tmp_path, "16", 3, 1001)
    edit(stem.with_suffix(".hea"), "r 3 250 1001", "r 3 250")
    stem.with_suffix(".dat").write_bytes(stem.with_suffix(".dat").read_bytes() + b"\1\2\3\4")
    with pytest.raises(UnusableRecord, match="no whole number for each of 3 leads") as refused:
        read(stem)
    assert refused.value.reason == "bad-signal"
