"""Records in the format of the PhysioNet Challenges: labels, leads, files and refusals."""

import numpy as np
import pytest
from support.small_records import challenge, edit, waves, write

from fl.datasets import DATASETS
from fl.datasets.cpsc2018 import CPSC2018, CPSC2018_LEAD1
from fl.datasets.readers.challenge_records import age_years, comment_fields, sex_letter
from fl.ecg.labels import RHYTHM_CLASSES
from fl.ecg.records import LEADS
from fl.util.errors import DataError, UnusableRecord

CHALLENGE_SETS = ("georgia", "cpsc-extra", "chapman", "ningbo", "ptb", "incart-challenge")


def classes(record, value=1):
    return {c for c, label in zip(RHYTHM_CLASSES, record.labels, strict=True) if label == value}


def test_a_record_is_read_with_its_labels_and_facts(tmp_path):
    signal = waves(12, 4000)
    challenge(tmp_path / "cpsc2018", "A0001", "164889003,59118001", signal=signal)
    record = CPSC2018.read(tmp_path, "A0001")
    assert classes(record) == {"AF", "RBBB"}
    assert classes(record, 0) == set(RHYTHM_CLASSES) - {"AF", "RBBB"}
    assert (record.source, record.name, record.patient) == ("cpsc2018", "A0001", "A0001")
    assert (record.leads, record.fs, record.age, record.sex) == (LEADS, 500.0, 74.0, "M")
    np.testing.assert_allclose(record.signal, signal.T, atol=6e-4)


@pytest.mark.parametrize(
    ("dx", "expected"), [("RBBB", {"RBBB"}), ("AF,RBBB", {"AF", "RBBB"}), ("I-AVB", {"IAVB"})]
)
def test_class_names_of_the_first_release_are_read(tmp_path, dx, expected):
    challenge(tmp_path / "cpsc2018", "A0001", dx)
    assert classes(CPSC2018.read(tmp_path, "A0001")) == expected


@pytest.mark.parametrize("dx", ["", "RBBBB", "59118002", "426177001", "AF,?", "59118001,junk"])
def test_cpsc2018_refuses_a_diagnosis_outside_its_classes(tmp_path, dx):
    challenge(tmp_path / "cpsc2018", "A0001", dx)
    with pytest.raises(UnusableRecord) as refused:
        CPSC2018.read(tmp_path, "A0001")
    assert refused.value.reason == "no-label"


def reference(tmp_path, line):
    path = tmp_path / "cpsc2018" / "REFERENCE.csv"
    path.write_text(f"Recording,First_label,Second_label,Third_label\n{line}\n")
    return path


def test_the_first_label_comes_from_the_reference_list(tmp_path):
    challenge(tmp_path / "cpsc2018", "A0001", "164889003,59118001")
    reference(tmp_path, "A0001,5,2,")
    assert CPSC2018.read(tmp_path, "A0001").first_label == "RBBB"


def test_labels_that_contradict_the_reference_list_are_refused(tmp_path):
    challenge(tmp_path / "cpsc2018", "A0001", "164889003")
    reference(tmp_path, "A0001,5,,")
    with pytest.raises(UnusableRecord, match="header AF, reference list RBBB") as refused:
        CPSC2018.read(tmp_path, "A0001")
    assert refused.value.reason == "label-conflict"


@pytest.mark.parametrize("line", ["A0001,0,,", "A0001,10,,", "A0001,RBBB,,"])
def test_a_broken_reference_list_is_named(tmp_path, line):
    challenge(tmp_path / "cpsc2018", "A0001")
    reference(tmp_path, line)
    with pytest.raises(DataError, match=r"REFERENCE\.csv: line 2"):
        CPSC2018.read(tmp_path, "A0001")


def test_a_recording_of_lead_i_alone_is_read_in_its_own_unit(tmp_path):
    folder = tmp_path / "cpsc2018-lead1"
    write(folder, "A0156", leads=("I",), unit="NU", comments=["Dx: 164884008"])
    record = CPSC2018_LEAD1.read(tmp_path, "A0156")
    assert (record.leads, classes(record)) == (("I",), {"PVC"})


def test_records_are_found_in_subfolders_and_missing_ones_in_the_list(tmp_path):
    folder = tmp_path / "cpsc2018"
    challenge(folder / "g1", "A0001")
    challenge(folder / "g2", "A0002")
    (folder / "RECORDS").write_text("g1/\ng2/\n")
    (folder / "g2" / "RECORDS").write_text("A0002\nA0003\n../../../etc/passwd\n/etc/passwd\n")
    assert CPSC2018.record_names(tmp_path) == ["A0001", "A0002", "A0003"]
    assert CPSC2018.read(tmp_path, "A0002").name == "A0002"
    with pytest.raises(UnusableRecord) as refused:
        CPSC2018.read(tmp_path, "A0003")
    assert refused.value.reason == "missing-file"


def test_two_records_of_one_name_are_distinguished_by_their_subfolders(tmp_path):
    challenge(tmp_path / "cpsc2018" / "g1", "A0001", "164889003")
    challenge(tmp_path / "cpsc2018" / "g2", "A0001", "59118001")
    names = CPSC2018.record_names(tmp_path)
    assert names == ["A0001", "g2/A0001"]
    assert [classes(CPSC2018.read(tmp_path, n)) for n in names] == [{"AF"}, {"RBBB"}]


@pytest.mark.parametrize("name", ["../cpsc2018/A0001", "/etc/passwd", "nothing"])
def test_a_name_without_a_record_is_refused(tmp_path, name):
    challenge(tmp_path / "cpsc2018", "A0001")
    with pytest.raises(UnusableRecord) as refused:
        CPSC2018.read(tmp_path, name)
    assert refused.value.reason == "missing-file"


@pytest.mark.parametrize("source", ["cpsc2018", "mitdb", "ptbxl", *CHALLENGE_SETS])
@pytest.mark.parametrize("empty", [False, True])
def test_a_folder_without_records_is_named_with_the_next_step(tmp_path, source, empty):
    if empty:
        (tmp_path / source).mkdir()
    assert DATASETS[source].exists(tmp_path) is empty
    with pytest.raises(DataError, match=f"{source}: no .*python -m fl.datasets download {source}"):
        DATASETS[source].record_names(tmp_path)


@pytest.mark.parametrize("source", CHALLENGE_SETS)
def test_classes_that_a_source_does_not_annotate_are_unknown(tmp_path, source):
    card = DATASETS[source].card
    codes = {"NSR": "426783006", "PVC": "427172004", "AF": "164889003"}
    named = next(c for c in codes if c in card.annotates)
    challenge(tmp_path / source, "X0001", f"{codes[named]},429622005,164931005", fs=card.rates[0])
    record = DATASETS[source].read(tmp_path, "X0001")
    assert classes(record, -1) == set(RHYTHM_CLASSES) - set(card.annotates)
    assert classes(record) == {named, "STD", "STE"} & set(card.annotates)


def test_a_code_that_leaves_a_class_open_masks_it(tmp_path):
    # sinus rhythm with ventricular bigeminy and a prolonged PR interval
    challenge(tmp_path / "chapman", "JS00001", "426783006,11157007,164947007")
    record = DATASETS["chapman"].read(tmp_path, "JS00001")
    assert classes(record, -1) == {"PVC", "IAVB"}
    challenge(tmp_path / "chapman", "JS00002", "164884008,11157007")
    assert "PVC" in classes(DATASETS["chapman"].read(tmp_path, "JS00002"))


def test_both_codes_of_left_bundle_branch_block_count(tmp_path):
    challenge(tmp_path / "ningbo", "JS20001", "733534002")
    assert classes(DATASETS["ningbo"].read(tmp_path, "JS20001")) == {"LBBB"}


@pytest.mark.parametrize("dx", ["426783006,16488x003", "164889004,10370003", "426783006,\0"])
def test_a_damaged_code_is_never_read_as_a_negative_label(tmp_path, dx):
    challenge(tmp_path / "georgia", "E00001")
    edit(tmp_path / "georgia" / "E00001.hea", "59118001", dx)
    with pytest.raises(UnusableRecord) as refused:
        DATASETS["georgia"].read(tmp_path, "E00001")
    assert refused.value.reason == "no-label"


def test_a_number_that_is_no_code_beside_a_class_leaves_the_other_classes_open(tmp_path):
    challenge(tmp_path / "georgia", "E00001", "426783006,164889004")
    record = DATASETS["georgia"].read(tmp_path, "E00001")
    assert classes(record) == {"NSR"}
    assert not (record.labels == 0).any()
    assert record.other_codes == ("164889004",)


def test_a_record_of_other_diagnoses_is_a_known_negative(tmp_path):
    challenge(tmp_path / "georgia", "E00001", "39732003,428750005")
    record = DATASETS["georgia"].read(tmp_path, "E00001")
    assert not classes(record)
    # 428750005 leaves ST open, and Georgia never annotates STD.
    assert classes(record, 0) == set(RHYTHM_CLASSES) - {"STD", "STE"}
    assert record.first_label == ""


def test_a_record_without_any_diagnosis_has_no_label(tmp_path):
    challenge(tmp_path / "georgia", "E00001", "")
    with pytest.raises(UnusableRecord, match="no #Dx line") as refused:
        DATASETS["georgia"].read(tmp_path, "E00001")
    assert refused.value.reason == "no-label"


def test_a_diagnosis_outside_a_closed_label_set_is_refused(tmp_path):
    challenge(tmp_path / "cpsc2018", "A0001", "39732003")
    with pytest.raises(UnusableRecord, match="not a class of the source"):
        DATASETS["cpsc2018"].read(tmp_path, "A0001")


def test_age_sex_and_comments_are_read_as_headers_write_them():
    assert [age_years(t) for t in ("74", "NaN", "Unknown", "-1", "300", "")] == [74] + [None] * 5
    assert [sex_letter(t) for t in ("Female", "male", "F", "Unknown", "")] == [
        "F",
        "M",
        "F",
        "",
        "",
    ]
    assert comment_fields(("Dx: AF", " dx : RBBB", "no colon")) == {"dx": "AF,RBBB"}


def test_files_are_those_that_can_change_what_is_read(tmp_path):
    challenge(tmp_path / "cpsc2018" / "g1", "A0001")
    path = reference(tmp_path, "A0001,5,,")
    (tmp_path / "cpsc2018" / "notes.txt").write_text("not read")
    (tmp_path / "cpsc2018" / "g1" / "A0002.mat.part").write_text("half a file")
    assert [file.name for file in CPSC2018.files(tmp_path)] == [path.name, "A0001.hea", "A0001.mat"]
    assert path in CPSC2018_LEAD1.files(tmp_path)
