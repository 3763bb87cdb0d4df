"""MIT-BIH: leads by name, annotations checked against the signal, the protocol's records."""

import numpy as np
import pytest
from support.small_records import holter, outcome, waves

from fl.datasets.mitdb import DS1, DS2, MITDB, PACED, first_comment
from fl.util.errors import UnusableRecord


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "mitdb"


def test_a_record_is_read_with_its_annotations(tmp_path, folder):
    signal = waves(2, 360 * 8)
    holter(folder, "100", signal=signal, symbols="+NVN")
    record = MITDB.read(tmp_path, "100")
    np.testing.assert_allclose(record.signal, signal.T, atol=6e-4)
    assert (record.leads, record.fs, record.labels) == (("II", "V1"), 360.0, None)
    assert (record.group, record.age, record.sex) == ("1629", 69.0, "M")
    assert record.annotations.symbols == ("+", "N", "V", "N")
    assert record.annotations.rhythms == ("(N", "", "", "")
    assert record.annotations.samples.tolist() == [300, 600, 900, 1200]


def test_reversed_leads_are_mapped_by_name(tmp_path, folder):
    signal = waves(2, 360 * 8)
    holter(folder, "114", leads=("V5", "MLII"), signal=signal)
    record = MITDB.read(tmp_path, "114")
    assert record.leads == ("II", "V5")
    np.testing.assert_allclose(record.signal, signal.T[::-1], atol=6e-4)


def test_a_record_without_mlii_has_no_lead_ii(tmp_path, folder):
    holter(folder, "102", leads=("V5", "V2"))
    assert MITDB.read(tmp_path, "102").leads == ("V2", "V5")


def test_records_201_and_202_are_of_one_patient(tmp_path, folder):
    for name in ("200", "201", "202"):
        holter(folder, name)
    assert [MITDB.read(tmp_path, n).patient for n in ("200", "201", "202")] == ["200", "201", "201"]


def test_an_unknown_recorder_is_empty():
    assert first_comment(["-1 F 2546 N/A x1"]) == ("-1", "F", "")
    assert first_comment([]) == ("", "", "")


def test_the_protocol_splits_48_records_without_overlap():
    all_records = {*DS1, *DS2, *PACED}
    assert (len(DS1), len(DS2), len(all_records)) == (22, 22, 48)


def verdict(tmp_path):
    with pytest.raises(UnusableRecord) as refused:
        MITDB.read(tmp_path, "100")
    return refused.value.reason


def test_missing_annotations_are_named(tmp_path, folder):
    holter(folder, "100").with_suffix(".atr").unlink()
    assert verdict(tmp_path) == "missing-file"
    (folder / "100.atr").mkdir()
    assert verdict(tmp_path) == "missing-file"


@pytest.mark.parametrize(
    "content",
    [b"", b"\0\0", b"\xff" * 40 + b"\0\0", b"not an annotation file, not at all\0\0"],
    ids=["empty", "only the end", "garbage", "text"],
)
def test_damaged_annotations_are_refused(tmp_path, folder, content):
    holter(folder, "100").with_suffix(".atr").write_bytes(content)
    assert verdict(tmp_path) == "no-annotation"


def test_cut_annotations_are_refused_wherever_they_are_cut(tmp_path, folder):
    path = holter(folder, "100").with_suffix(".atr")
    content = path.read_bytes()
    for end in range(len(content)):
        path.write_bytes(content[:end])
        result = outcome(MITDB, tmp_path, "100")
        # A cut inside the end mark loses nothing.
        assert result == "no-annotation" or len(result.annotations.symbols) == 6


def test_annotations_beyond_the_signal_are_refused(tmp_path, folder):
    holter(folder, "100", symbols="+" + "N" * 30)
    assert verdict(tmp_path) == "no-annotation"


def test_annotations_without_a_beat_are_refused(tmp_path, folder):
    holter(folder, "100", symbols="+~")
    assert verdict(tmp_path) == "no-annotation"
