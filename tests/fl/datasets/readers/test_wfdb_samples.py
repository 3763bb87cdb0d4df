"""Samples decoded here equal those that wfdb decodes."""

import numpy as np
import pytest

from fl.datasets.readers import wfdb_access
from fl.datasets.readers.wfdb_samples import with_stored_samples

RANGE = {"16": 32768, "212": 2048, "80": 128}  # -RANGE means a missing sample


@pytest.mark.parametrize("fmt", RANGE)
@pytest.mark.parametrize(("leads", "samples"), [(1, 1001), (2, 1000), (3, 1001)])
def test_samples_equal_those_that_wfdb_reads(tmp_path, fmt, leads, samples):
    top = RANGE[fmt]
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
        write_dir=str(tmp_path),
    )
    stem = tmp_path / "r"
    read = with_stored_samples(stem, wfdb_access.header(stem))
    expected = wfdb_access.call("rdrecord", str(stem), physical=False, return_res=32)
    np.testing.assert_array_equal(read.d_signal, expected.d_signal)
    np.testing.assert_array_equal(read.dac(return_res=32), expected.dac(return_res=32))
    assert (read.checksum, read.init_value) == (expected.checksum, expected.init_value)
