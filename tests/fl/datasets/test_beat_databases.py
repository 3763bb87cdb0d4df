"""SVDB and INCART: leads, patients and beats as their published files state them."""

import json

import numpy as np
import pytest
from support.small_records import INCART_COMMENTS, annotate, incart, outcome, svdb, waves, write

from fl.datasets import DATASETS
from fl.datasets.__main__ import main
from fl.datasets.data_report import check
from fl.datasets.incart import INCART
from fl.datasets.readers.beat_records import stated_patient
from fl.datasets.svdb import SVDB
from fl.ecg.records import LEADS
from fl.ecg.tasks import BEAT, RHYTHM
from fl.util.errors import DataError, UnusableRecord


def test_ecg1_of_svdb_is_read_as_lead_two_and_ecg2_is_not_read(tmp_path):
    stem = svdb(tmp_path, "800")
    record = SVDB.read(tmp_path, "800")
    assert (record.leads, record.fs, record.labels) == (("II",), 128.0, None)
    assert (record.patient, record.age, record.sex, record.group) == ("800", None, "", "")
    assert record.annotations.symbols == ("N", "S", "V", "J")
    # A gain of 0 means that none is stated: WFDB takes 200 units per mV.
    stored = np.fromfile(stem.with_suffix(".dat"), dtype="<i2")[::2]
    np.testing.assert_allclose(record.signal[0], stored / 200, rtol=1e-6)


def test_a_copy_of_svdb_with_one_lead_and_a_gain_is_read_too(tmp_path):
    signal = waves(1, 128 * 8)
    stem = write(tmp_path / "svdb", "801", leads=("ECG1",), fs=128, signal=signal)
    annotate(stem, "NNV", step=100)
    np.testing.assert_allclose(SVDB.read(tmp_path, "801").signal, signal.T, atol=6e-4)


def test_ecg1_is_a_lead_of_svdb_alone(tmp_path):
    stem = write(tmp_path / "mitdb", "100", leads=("ECG1", "ECG2"), fs=360)
    annotate(stem, "NNV", step=300)
    with pytest.raises(UnusableRecord, match="none with the name of a lead: ECG1, ECG2"):
        DATASETS["mitdb"].read(tmp_path, "100")


def test_an_incart_header_names_the_person(tmp_path):
    incart(tmp_path, "I01")
    record = INCART.read(tmp_path, "I01")
    assert (record.leads, record.fs) == (LEADS, 257.0)
    assert (record.patient, record.age, record.sex) == ("1", 65.0, "F")
    assert record.annotations.symbols == ("N", "n", "V", "B")


def test_an_incart_header_without_diagnoses_or_with_an_unknown_age_is_read(tmp_path):
    incart(tmp_path, "I08", comments=["<age>: 51 <sex>: M", "patient 4", "bigeminy"])
    incart(tmp_path, "I09", comments=["<age>: ? <sex>: ?", "patient 4"])
    first, second = (INCART.read(tmp_path, name) for name in ("I08", "I09"))
    assert (first.patient, first.age, first.sex) == ("4", 51.0, "M")
    assert (second.patient, second.age, second.sex) == ("4", None, "")


@pytest.mark.parametrize(
    ("comments", "patient"),
    [
        (["patient 12"], "12"),
        (["Patient: p-7"], "p-7"),
        (["patient id = 7"], "7"),
        (["patient 1", "patient 1"], "1"),
        (["patient 1", "patient 2"], ""),
        (["the patient moved at 12:00"], ""),
        (["patient moved"], ""),
        ([], ""),
    ],
)
def test_a_patient_is_named_by_one_comment_or_by_none(comments, patient):
    assert stated_patient(comments) == patient


def test_records_of_one_patient_stay_together_and_others_count_alone_and_are_shown(tmp_path):
    for name in ("I01", "I02"):
        incart(tmp_path, name)
    incart(tmp_path, "I03", comments=INCART_COMMENTS[:1])
    report = check([INCART], tmp_path)
    source = report.sources[0]
    assert (source.usable, source.patients, source.without_patient) == (3, 2, ["I03"])
    titles = [str(table.title) for table in report.tables()]
    assert "Records that do not name their patient; each counts as a patient of its own" in titles


def test_the_folder_may_have_physionets_name(tmp_path):
    incart(tmp_path, "I01", folder="incartdb")
    (tmp_path / "incartdb" / "SHA256SUMS.txt").write_text(f"{'0' * 64}  I01.atr\n")
    assert INCART.exists(tmp_path)
    assert INCART.record_names(tmp_path) == ["I01"]
    assert check([INCART], tmp_path).sources[0].altered == ["I01.atr"]


def test_the_challenges_copy_in_its_folder_is_recognised(tmp_path):
    write(tmp_path / "incart", "I0001", fs=257, mat=True)
    with pytest.raises(DataError, match=r"1 records and no \.atr file.*incart-challenge"):
        INCART.record_names(tmp_path)


@pytest.mark.parametrize(("source", "make"), [(SVDB, svdb), (INCART, incart)])
def test_another_rate_and_missing_annotations_are_verdicts(tmp_path, source, make):
    name = {"svdb": "800", "incart": "I01"}[source.card.name]
    stem = make(tmp_path, name)
    stem.with_suffix(".atr").rename(stem.with_name("other.atr"))
    assert outcome(source, tmp_path, name) == "missing-file"
    header = stem.with_suffix(".hea")
    header.write_text(header.read_text().replace(" 128 ", " 250 ").replace(" 257 ", " 250 "))
    assert outcome(source, tmp_path, name) == "wrong-rate"


def test_beats_are_counted_by_class_patient_and_code(tmp_path):
    svdb(tmp_path, "800", "+NSVJ~")
    svdb(tmp_path, "801", "NNa!?")
    incart(tmp_path, "I01", "NBnr")
    incart(tmp_path, "I02", "QFV")
    one, two = check([SVDB, INCART], tmp_path).sources
    assert one.beats["all"].beats == {"N": 3, "S": 3, "V": 1, "F": 0, "Q": 0}
    assert one.beats["all"].patients == {"N": 2, "S": 2, "V": 1, "F": 0, "Q": 0, "all": 2}
    assert one.codes_without_class == {"+": 1, "~": 1, "!": 1, "?": 1}
    assert two.beats["all"].beats == {"N": 2, "S": 1, "V": 2, "F": 1, "Q": 1}
    assert set(two.beats["all"].patients.values()) == {1}
    assert two.beats["all"].rows()["all"] == (7, 1)
    assert two.codes_without_class == {}


def test_the_command_prints_beats_codes_and_the_lead_that_is_two(tmp_path, capsys):
    svdb(tmp_path, "800", "NSVJ~[")
    incart(tmp_path, "I01")
    assert main(["check", "--data-dir", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for expected in (
        *("Beats by AAMI class", "II: ECG1", "II: II", "Signal quality change"),
        *("│ svdb   │ [    │ Start of ventricular flutter/fibrillation", "Annotations"),
    ):
        assert expected in printed
    assert main(["check", "--json", "svdb", "--data-dir", str(tmp_path)]) == 0
    source = json.loads(capsys.readouterr().out)["sources"][0]
    assert source["beats"]["all"]["patients"] == {"N": 1, "S": 1, "V": 1, "F": 0, "Q": 0, "all": 1}
    assert (source["lead_two"], source["codes_without_class"]) == ("ECG1", {"~": 1, "[": 1})


def test_a_check_for_the_rhythm_task_refuses_them_by_name_and_names_those_it_did_not_read(
    tmp_path, capsys
):
    svdb(tmp_path, "800")
    write(tmp_path / "cpsc2018", "A0001", comments=["Dx: 59118001"], mat=True)
    command = ["check", "--task", "rhythm", "--data-dir", str(tmp_path)]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "not read: svdb" in printed.err
    assert "svdb" not in printed.out
    assert main([*command, "svdb"]) == 2
    assert "svdb has annotated heartbeats and no class of --task rhythm" in capsys.readouterr().err


@pytest.mark.parametrize(("source", "make"), [(SVDB, svdb), (INCART, incart)])
def test_they_make_beat_examples_and_no_rhythm_window(tmp_path, source, make):
    name = {"svdb": "800", "incart": "I01"}[source.card.name]
    make(tmp_path, name, "+NNVSN")
    record = source.read(tmp_path, name)
    assert len(BEAT.make_examples(record).names) == 5
    with pytest.raises(UnusableRecord, match="no 10 s window"):
        RHYTHM.make_examples(record)
