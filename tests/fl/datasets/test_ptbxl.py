"""PTB-XL: labels, patients and files come from its table, which is checked first."""

import shutil

import pytest
from support.small_records import edit, ptbxl

from fl.datasets.ptbxl import PTBXL
from fl.ecg.labels import RHYTHM_CLASSES
from fl.ecg.records import LEADS
from fl.util.errors import DataError, UnusableRecord


def classes(record, value=1):
    return {c for c, label in zip(RHYTHM_CLASSES, record.labels, strict=True) if label == value}


def verdict(tmp_path, name="00001"):
    with pytest.raises(UnusableRecord) as refused:
        PTBXL.read(tmp_path, name)
    return refused.value.reason


def test_a_record_is_read_with_its_patient_and_site(tmp_path):
    ptbxl(tmp_path)
    assert PTBXL.record_names(tmp_path) == ["00001"]
    record = PTBXL.read(tmp_path, "00001")
    assert (record.patient, record.group, record.age, record.sex) == ("15709", "2", 56.0, "F")
    assert (record.leads, record.fs, record.signal.shape) == (LEADS, 100.0, (12, 800))
    assert classes(record) == {"NSR"}
    assert classes(record, -1) == {"STE"}


def test_a_likelihood_of_zero_does_not_mean_absent(tmp_path):
    ptbxl(tmp_path, codes="{'AFIB': 0.0, 'PVC': 100.0, 'STD_': 0.0}")
    assert classes(PTBXL.read(tmp_path, "00001")) == {"AF", "PVC", "STD"}


def test_a_statement_that_leaves_a_class_open_masks_it(tmp_path):
    ptbxl(tmp_path, codes="{'AFIB': 0.0, 'BIGU': 0.0, 'NST_': 100.0}")
    assert classes(PTBXL.read(tmp_path, "00001"), -1) == {"PAC", "PVC", "STD", "STE"}


@pytest.mark.parametrize("codes", ["{'LVH': 100.0}", "{'STE_': 100.0}"])
def test_a_record_of_other_statements_is_a_known_negative(tmp_path, codes):
    ptbxl(tmp_path, codes=codes)
    record = PTBXL.read(tmp_path, "00001")
    assert not classes(record)
    assert classes(record, 0) == set(RHYTHM_CLASSES) - {"STE"}


def test_a_record_of_other_statements_is_open_where_they_leave_a_class_open(tmp_path):
    ptbxl(tmp_path, codes="{'LVH': 100.0, 'LPR': 0.0}")
    assert classes(PTBXL.read(tmp_path, "00001"), -1) == {"IAVB", "STE"}


@pytest.mark.parametrize("codes", ["{}", "nothing", "[1]", "{1: 2}", "(" * 3000])
def test_a_record_without_a_statement_has_no_label(tmp_path, codes):
    ptbxl(tmp_path, codes=codes)
    assert verdict(tmp_path) == "no-label"


@pytest.mark.parametrize(("age", "expected"), [("300.0", 90), ("89", 89), ("", None), ("x", None)])
def test_ages_above_89_are_at_least_90(tmp_path, age, expected):
    ptbxl(tmp_path, age=age)
    assert PTBXL.read(tmp_path, "00001").age == expected


def test_two_records_may_be_of_one_patient(tmp_path):
    ptbxl(tmp_path, 1, patient="7.0")
    ptbxl(tmp_path, 2, patient="7")
    assert {PTBXL.read(tmp_path, n).patient for n in PTBXL.record_names(tmp_path)} == {"7"}


def test_the_500_hz_copy_is_read_if_it_is_the_only_one(tmp_path):
    ptbxl(tmp_path, fs=500)
    assert PTBXL.read(tmp_path, "00001").fs == 500
    (tmp_path / "ptbxl" / "records100").mkdir()
    assert verdict(tmp_path) == "missing-file"


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "/etc/passwd", "records100/00000/00002_lr", "records100/x"]
)
def test_a_table_that_names_another_file_is_not_followed(tmp_path, path):
    ptbxl(tmp_path, path=path)
    assert verdict(tmp_path) == "foreign-file"


def test_a_record_that_is_listed_twice_is_refused(tmp_path):
    ptbxl(tmp_path)
    ptbxl(tmp_path, codes="{'AFIB': 0.0}")
    assert verdict(tmp_path) == "label-conflict"


def test_a_record_without_a_patient_is_refused(tmp_path):
    ptbxl(tmp_path, patient="")
    assert verdict(tmp_path) == "label-conflict"


def test_a_record_that_the_table_does_not_list_is_missing(tmp_path):
    ptbxl(tmp_path)
    assert verdict(tmp_path, "00002") == "missing-file"


def test_a_table_without_its_columns_is_named(tmp_path):
    ptbxl(tmp_path)
    edit(tmp_path / "ptbxl" / "ptbxl_database.csv", "scp_codes", "labels")
    with pytest.raises(DataError, match="column scp_codes is missing"):
        PTBXL.record_names(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\0\1\2\xff" * 500])
def test_a_file_that_is_not_a_table_is_named(tmp_path, content):
    ptbxl(tmp_path)
    (tmp_path / "ptbxl" / "ptbxl_database.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"ptbxl_database\.csv"):
        PTBXL.record_names(tmp_path)


def test_an_incomplete_line_does_not_give_a_wrong_label(tmp_path):
    ptbxl(tmp_path)
    table = tmp_path / "ptbxl" / "ptbxl_database.csv"
    table.write_text(table.read_text().split('"{')[0])
    assert verdict(tmp_path) == "no-label"


def test_a_folder_without_the_table_has_no_records(tmp_path):
    shutil.rmtree(ptbxl(tmp_path).parent)
    (tmp_path / "ptbxl" / "ptbxl_database.csv").unlink()
    with pytest.raises(DataError, match="no records in it"):
        PTBXL.record_names(tmp_path)
