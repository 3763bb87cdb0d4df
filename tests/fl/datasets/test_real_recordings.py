"""Known facts about the published recordings, measured on those under $ECG_DATA."""

import os
from pathlib import Path

import pytest

from fl.datasets import DATASETS
from fl.datasets.data_report import check
from fl.datasets.mitdb import MITDB
from fl.datasets.svdb import SVDB

ROOT = Path(os.environ.get("ECG_DATA") or "no-such-folder")
NEEDED = ("cpsc2018", "cpsc2018-lead1", "mitdb", "ptbxl", "georgia", "cpsc-extra")
MISSING = [name for name in NEEDED if not (ROOT / name).is_dir()]

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(bool(MISSING), reason=f"not under $ECG_DATA: {', '.join(MISSING)}"),
]


@pytest.fixture(scope="module")
def report():
    return {s.name: s for s in check([DATASETS[name] for name in NEEDED], ROOT).sources}


def test_no_recording_disagrees_with_its_checksum(report):
    verdicts = {reason for source in report.values() for reason in source.unusable}
    assert verdicts <= {"bad-header", "no-label", "duplicate"}


def test_four_headers_of_georgia_are_broken(report):
    assert report["georgia"].unusable["bad-header"] == ["E00009", "E00015", "E00018", "E00793"]


def test_copies_are_found(report):
    assert report["ptbxl"].duplicates == {
        "00138": "ptbxl/00137",
        "00144": "ptbxl/00143",
        "00457": "ptbxl/00456",
        "00460": "ptbxl/00459",
        "00463": "ptbxl/00145",  # of another patient, if the table is right
    }
    assert report["georgia"].duplicates == {"E07510": "georgia/E07509"}
    assert report["cpsc-extra"].duplicates == {"Q0048": "cpsc2018/A0101"}
    assert not report["cpsc2018-lead1"].duplicates


def test_every_cpsc2018_record_is_usable(report):
    for name in ("cpsc2018", "cpsc2018-lead1"):
        assert report[name].usable == report[name].records == report[name].patients


def test_records_without_a_class_are_used_as_known_negatives(report):
    used = {n: (report[n].usable, report[n].none_of_the_classes) for n in NEEDED[3:]}
    assert used == {"ptbxl": (495, 142), "georgia": (28, 16), "cpsc-extra": (28, 19)}
    assert not any("no-label" in source.unusable for source in report.values())


def test_at_most_two_in_a_hundred_recordings_of_a_source_cannot_be_read(report):
    for source in report.values():
        assert sum(map(len, source.cannot_say.values())) <= 0.02 * source.usable


def test_ptbxl_has_the_classes_of_its_statements(report):
    assert report["ptbxl"].classes["NSR"]["yes"] == 297 - 3  # three are copies
    assert report["ptbxl"].classes["STD"]["yes"] == 22


def test_mitdb_has_the_beats_of_the_protocol(report):
    beats = report["mitdb"].beats
    assert beats["DS1"].rows()["all"] == (51_021, 22)
    mitdb = {"N": 90_125, "S": 2_781, "V": 7_009, "F": 803, "Q": 15}
    assert beats["all non-paced"].beats == mitdb


@pytest.mark.skipif(not (ROOT / "svdb").is_dir(), reason="not under $ECG_DATA: svdb")
def test_svdb_has_its_published_beats():
    source = check([SVDB], ROOT).sources[0]
    assert (source.usable, source.patients, source.unusable) == (78, 78, {})
    counts = source.beats["all"]
    # 12,188 S, 9 J and 1 a.
    assert counts.beats == {"N": 162_339, "S": 12_198, "V": 9_943, "F": 23, "Q": 79}
    assert (counts.patients["S"], counts.patients["V"]) == (73, 67)


def test_mitdb_has_47_patients_and_two_records_without_lead_ii(report):
    assert (report["mitdb"].usable, report["mitdb"].patients) == (48, 47)
    assert report["mitdb"].missing_leads["II"] == ["102", "104"]


def test_the_reversed_leads_of_114_are_read_by_name():
    record = MITDB.read(ROOT, "114")
    assert record.leads == ("II", "V5")
    # The header states 1027 as the first sample of MLII: (1027 - 1024) / 200 mV.
    assert record.signal[0, 0] == pytest.approx(0.015)


def test_recorders_are_read_from_the_headers():
    groups = {name: MITDB.read(ROOT, name).group for name in ("100", "203", "208", "212")}
    assert groups == {"100": "1629", "203": "356", "208": "", "212": "171"}
