"""Infarction labels as the sources read them, and sources that have none."""

from dataclasses import replace

import numpy as np
import pytest
from support.small_records import challenge, edit, holter, outcome, ptbxl, write

from fl.config.run_config import RunConfig
from fl.datasets import DATASETS
from fl.datasets.__main__ import main
from fl.datasets.own_folder import OwnFolder
from fl.datasets.ptbdb import PTBDB
from fl.datasets.source_selection import select_sources
from fl.datasets.synthetic import SYNTHETIC, SYNTHETIC_HOLTER
from fl.datasets.synthetic.heart import TWELVE, make_heart
from fl.datasets.synthetic.infarction import with_infarction
from fl.ecg.labels import DOUBTFUL, UNKNOWN
from fl.ecg.records import LEADS
from fl.ecg.rhythm.windows import rhythm_examples
from fl.ecg.tasks import MI, MI_12LEAD
from fl.util.errors import ConfigError, UnusableRecord
from fl.util.random_streams import stream

PTB_LEADS = [*(lead.lower() for lead in LEADS), "vx", "vy", "vz"]
MI_REASON, HEALTHY = "Myocardial infarction", "Healthy control"


def ptbdb(root, patient="patient001", name="s0010_re", reason=MI_REASON):
    """A record as PhysioNet's copy has it: twelve leads in .dat, the Frank leads in .xyz."""
    comments = ["age: 81", "sex: female", "Diagnose:", f"Reason for admission: {reason}"]
    seed = int(name[1:5])
    stem = write(root / "ptbdb" / patient, name, leads=PTB_LEADS, fs=1000, comments=comments)
    rng = np.random.default_rng(seed)
    samples = rng.integers(-2000, 2000, (8000, 15)).astype("<i2")
    lines = stem.with_suffix(".hea").read_text().splitlines()
    for i, lead in enumerate(PTB_LEADS, start=1):
        file = f"{name}.xyz" if lead.startswith("v") and lead[1] in "xyz" else f"{name}.dat"
        total = int(np.int64(samples[:, i - 1].sum(dtype=np.int64)) + 32768) % 65536 - 32768
        lines[i] = f"{file} 16 2000 16 0 {samples[0, i - 1]} {total} 0 {lead}"
    stem.with_suffix(".hea").write_text("\n".join(lines) + "\n")
    samples[:, :12].tofile(stem.with_suffix(".dat"))
    samples[:, 12:].tofile(stem.with_suffix(".xyz"))
    return stem, samples


def test_a_ptb_record_is_read_without_its_frank_leads(tmp_path):
    stem, samples = ptbdb(tmp_path)
    stem.with_suffix(".xyz").unlink()  # it is not needed
    assert PTBDB.record_names(tmp_path) == ["s0010_re"]
    record = PTBDB.read(tmp_path, "s0010_re")
    assert (record.patient, record.age, record.sex) == ("patient001", 81, "F")
    assert (record.leads, record.fs, record.infarction) == (LEADS, 1000, 1)
    np.testing.assert_allclose(record.signal, samples[:, :12].T / 2000, atol=1e-6)
    assert not (record.labels >= 0).any()


@pytest.mark.parametrize(
    ("reason", "expected"),
    [(HEALTHY, 0), (MI_REASON, 1), ("Cardiomyopathy", UNKNOWN), ("n/a", UNKNOWN), ("", UNKNOWN)],
)
def test_the_reason_for_admission_decides(tmp_path, reason, expected):
    ptbdb(tmp_path, reason=reason)
    assert PTBDB.read(tmp_path, "s0010_re").infarction == expected


def test_records_of_one_folder_are_of_one_patient(tmp_path):
    for name in ("s0010_re", "s0014lre"):
        ptbdb(tmp_path, name=name)
    ptbdb(tmp_path, patient="patient104", name="s0306lre", reason=HEALTHY)
    patients = [PTBDB.read(tmp_path, name).patient for name in PTBDB.record_names(tmp_path)]
    assert patients == ["patient001", "patient001", "patient104"]


def test_a_ptb_record_outside_a_patients_folder_is_left_out(tmp_path):
    ptbdb(tmp_path, patient="elsewhere")
    assert outcome(PTBDB, tmp_path, "s0010_re") == "label-conflict"


def test_another_records_frank_file_is_foreign(tmp_path):
    stem, _ = ptbdb(tmp_path)
    edit(stem.with_suffix(".hea"), "s0010_re.xyz", "s0011_re.xyz")
    assert outcome(PTBDB, tmp_path, "s0010_re") == "foreign-file"


def test_a_short_dat_file_is_truncated(tmp_path):
    stem, samples = ptbdb(tmp_path)
    samples[:7000, :12].tofile(stem.with_suffix(".dat"))
    assert outcome(PTBDB, tmp_path, "s0010_re") == "truncated"


def test_a_header_of_frank_leads_alone_is_refused(tmp_path):
    stem, _ = ptbdb(tmp_path)
    edit(stem.with_suffix(".hea"), "s0010_re.dat", "s0010_re.xyz")
    assert outcome(PTBDB, tmp_path, "s0010_re") == "bad-header"


@pytest.mark.parametrize(
    ("codes", "expected"),
    [("{'IMI': 100.0}", 1), ("{'NORM': 80.0}", 0), ("{'IMI': 15.0}", DOUBTFUL)],
)
def test_ptbxl_answers(tmp_path, codes, expected):
    ptbxl(tmp_path, codes=codes)
    assert DATASETS["ptbxl"].read(tmp_path, "00001").infarction == expected


def test_of_the_challenge_sets_ptb_alone_answers(tmp_path):
    for name in ("ptb", "georgia"):
        fs = 1000 if name == "ptb" else 500
        challenge(tmp_path / name, "A0001", dx="164865005", fs=fs)
    assert DATASETS["ptb"].read(tmp_path, "A0001").infarction == 1
    assert DATASETS["georgia"].read(tmp_path, "A0001").infarction == UNKNOWN


def own(tmp_path, labels, annotated=""):
    write(tmp_path, "R1")
    table = f"record,patient,labels,annotated\nR1,P1,{labels},{annotated}\n"
    (tmp_path / "labels.csv").write_text(table)
    return OwnFolder(name="mine", path=str(tmp_path))


@pytest.mark.parametrize(
    ("labels", "annotated", "expected"),
    [
        ("MI", "", 1),
        ("57054005", "", 1),
        ("AF;MI", "", 1),
        ("NORM", "", 0),
        ("AF", "AF;MI", 0),
        ("", "MI", 0),
        ("AF", "", UNKNOWN),
        ("Normal", "", UNKNOWN),
        ("426783006", "", UNKNOWN),
    ],
)
def test_an_own_folder_names_infarctions(tmp_path, labels, annotated, expected):
    assert own(tmp_path, labels, annotated).read(tmp_path, "R1").infarction == expected


def test_mi_and_norm_say_nothing_about_the_nine_classes(tmp_path):
    for labels in ("MI", "NORM"):
        record = own(tmp_path, labels).read(tmp_path, "R1")
        assert not (record.labels >= 0).any()
        with pytest.raises(UnusableRecord, match="leaves every class open"):
            rhythm_examples(record)
    with_other = own(tmp_path, "AF;MI").read(tmp_path, "R1")
    alone = own(tmp_path, "AF").read(tmp_path, "R1")
    np.testing.assert_array_equal(with_other.labels, alone.labels)


def test_an_infarction_in_a_normal_recording_is_a_conflict(tmp_path):
    assert outcome(own(tmp_path, "MI;NORM"), tmp_path, "R1") == "label-conflict"


def select(tmp_path, **settings):
    return select_sources(RunConfig(data_dir=str(tmp_path), **settings)).sources


@pytest.mark.parametrize("task", ["mi", "mi-12lead"])
def test_a_source_without_infarction_labels_is_a_mistake_in_one_line(tmp_path, task):
    (tmp_path / "georgia").mkdir()
    with pytest.raises(
        ConfigError, match="does not say who has a myocardial infarction"
    ) as refused:
        select(tmp_path, task=task, sources="georgia")
    assert "\n" not in str(refused.value)
    assert "Use ptbxl, ptbdb, ptb." in str(refused.value)


def test_a_source_of_infarctions_alone_is_a_mistake_under_the_rhythm_task(tmp_path):
    (tmp_path / "ptbdb").mkdir()
    with pytest.raises(ConfigError, match="has infarctions and no class of --task rhythm"):
        select(tmp_path, sources="ptbdb")


def test_an_own_folder_of_beats_alone_needs_a_table(tmp_path):
    holter(tmp_path, "100")
    with pytest.raises(ConfigError, match=r"Give it a labels\.csv"):
        select(tmp_path, task="mi", sources=f"mine={tmp_path}")


@pytest.mark.parametrize(
    ("folders", "used"),
    [
        (["ptb", "ptbdb", "ptbxl", "mitdb"], ["ptbxl", "ptbdb"]),  # one form of PTB, not both
        (["ptb", "ptbxl"], ["ptbxl", "ptb"]),
    ],
)
def test_the_default_sources_are_those_with_infarctions(tmp_path, folders, used):
    for name in folders:
        (tmp_path / name).mkdir()
    assert list(select(tmp_path, task="mi")) == used


def test_check_counts_infarctions_and_beats_without_a_cut(tmp_path, capsys):
    for number, codes in enumerate(("IMI", "NORM", "NORM", "LVH"), start=1):
        ptbxl(tmp_path, number, codes=f"{{'{codes}': 100.0}}")
    assert main(["check", "ptbxl", "--task", "mi", "--data-dir", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "no-infarction-label" in printed
    assert "Usable records by infarction" in printed
    assert main(["check", "georgia", "--task", "mi", "--data-dir", str(tmp_path)]) == 2
    assert "does not say who has a myocardial infarction" in capsys.readouterr().err


def test_other_tasks_have_the_synthetic_cohort_as_it_was(tmp_path):
    plain, changed = SYNTHETIC, replace(SYNTHETIC, infarction=True)
    assert repr(plain) == repr(changed)  # cache folders have their names from it
    assert plain.read(tmp_path, "S00001").infarction == UNKNOWN
    for task, expected in (("rhythm", False), ("beat-plain", False), ("mi", True)):
        sources = select(tmp_path, task=task, data="synthetic")
        assert [source.infarction for source in sources.values()] == [expected, expected]


@pytest.mark.parametrize("source", [SYNTHETIC, SYNTHETIC_HOLTER])
def test_two_in_five_synthetic_patients_have_an_infarction(tmp_path, source):
    cohort = replace(source, infarction=True, n_records=100)
    records = [cohort.patient(index) for index in range(100)]
    assert np.mean([patient.infarction for patient in records]) == pytest.approx(0.4, abs=0.05)
    assert {patient.labels for patient in records if patient.infarction} == {()}
    assert {patient.labels for patient in records if not patient.infarction} == {("NSR",)}


@pytest.mark.parametrize("number", range(12))
def test_a_synthetic_infarction_has_q_waves_and_st_elevation_in_the_same_leads(number):
    rng = stream(0, "infarction", number)
    healthy = make_heart(("NSR",), "M", rng)
    made = with_infarction(healthy, rng)
    leads = TWELVE @ made.matrix
    q, st = leads @ made.qrs[0].vector, leads @ (made.st - healthy.st)
    assert made.qrs[1:] == healthy.qrs
    assert (q < -0.1).sum() >= 2  # mV, in two leads at least
    assert (st[q < -0.1] > 0).all()
    assert st[q > 0.1].max() < 0  # reciprocal depression in the opposite leads


@pytest.mark.parametrize("task", [MI, MI_12LEAD])
def test_a_synthetic_infarction_can_be_made_into_an_example(tmp_path, task):
    record = replace(SYNTHETIC, infarction=True).read(tmp_path, "S00001")
    assert len(task.make_examples(record).names) == 1
