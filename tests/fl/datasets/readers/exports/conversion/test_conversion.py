"""`data convert` writes WFDB records that give the same samples, and nothing of the patient."""

import csv
import stat

import numpy as np
import pytest
from support.hospital_files import (
    EIGHT,
    FIRST,
    ID,
    LAST,
    STEP,
    WRITERS,
    dicom,
    files_with_secrets,
    secrets_in,
    stored,
)

from fl.datasets.__main__ import main
from fl.datasets.own_folder import parse_source
from fl.datasets.readers import wfdb_access
from fl.datasets.readers.exports.conversion.identity import KEY_FILE

COMMAND = "convert"


def rows(folder):
    with (folder / "labels.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in", tmp_path / "out"


@pytest.mark.parametrize("name", WRITERS)
def test_a_converted_file_has_the_stored_numbers(folders, capsys, name):
    given, out = folders
    values = stored(8, fs=250)
    WRITERS[name](given / "e1.bin", values, fs=250)
    assert main([COMMAND, str(given), "--out", str(out)]) == 0
    found = wfdb_access.call("rdrecord", str(out / "e1-bin"), physical=False)
    assert (found.fs, found.sig_len, set(found.units)) == (250, 2000, {"mV"})
    for lead, row in zip(EIGHT, values, strict=True):
        place = found.sig_name.index(lead)
        assert np.array_equal(found.d_signal[:, place], row), "not exact to one step"
        assert found.adc_gain[place] == pytest.approx(1 / STEP)
    printed = capsys.readouterr()
    assert "1 of 1 recordings written" in printed.out
    assert not secrets_in(printed.out, printed.err)
    assert not files_with_secrets(out)


def test_the_folder_is_an_own_folder_once_its_labels_are_filled_in(folders):
    given, out = folders
    for place, writer in enumerate(list(WRITERS.values())[:3]):
        writer(given / f"e{place}", stored(8, seed=place))
    assert main([COMMAND, str(given), "--out", str(out)]) == 0
    text = (out / "labels.csv").read_text()
    assert text.count(",,,") == 3
    (out / "labels.csv").write_text(text.replace(",,,", ",AF,,"))
    source = parse_source(f"mysite={out}")
    records = [source.read(out, name) for name in source.record_names(out)]
    assert [(r.name, r.age, r.sex, len(r.leads)) for r in records] == [
        (f"e{place}", 70.0, "F", 12) for place in range(3)
    ]
    assert len({r.patient for r in records}) == 1
    values = stored(8, seed=0) * STEP
    assert records[0].signal[0] == pytest.approx(values[0], abs=STEP)


def test_a_patient_keeps_the_pseudonym_in_one_folder_and_has_another_elsewhere(folders, tmp_path):
    given, out = folders
    dicom(given / "a.dcm", stored(8))
    dicom(given / "b.dcm", stored(8, seed=1))
    for name, folder in (("a", out), ("b", out), ("a", tmp_path / "other")):
        assert main([COMMAND, str(given / f"{name}.dcm"), "--out", str(folder)]) == 0
    (first, second), (other,) = rows(out), rows(tmp_path / "other")
    assert first["patient"] == second["patient"] != other["patient"]
    assert first["patient"]
    assert stat.S_IMODE((out / KEY_FILE).stat().st_mode) == 0o600


def test_files_that_are_named_after_the_patient_get_a_number(folders, capsys):
    given, out = folders
    names = (f"{LAST}_{FIRST}.dcm", f"ecg-{ID}.dcm", "ecg 1951-03-17.dcm", "ecg-7.dcm")
    for place, name in enumerate(names):
        dicom(given / name, stored(8, seed=place))
    assert main([COMMAND, str(given), "--out", str(out)]) == 0
    assert {row["record"] for row in rows(out)} == {"ecg-7", *(f"ecg-0000{n}" for n in (1, 2, 3))}
    printed = capsys.readouterr()
    assert "3 had a part of the patient's name, id or birth date in the file name" in printed.out
    assert not secrets_in(printed.out, printed.err)
    assert not files_with_secrets(out)


def test_equal_file_names_get_a_number_and_records_are_never_overwritten(folders, capsys):
    given, out = folders
    for place, ward in enumerate(("a", "b")):
        (given / ward).mkdir()
        dicom(given / ward / "ecg.dcm", stored(8, seed=place))
    assert main([COMMAND, str(given), "--out", str(out)]) == 0
    assert [row["record"] for row in rows(out)] == ["ecg", "ecg-2"]
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert main([COMMAND, str(given), "--out", str(out)]) == 2
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert "a record ecg is in" in capsys.readouterr().err


def test_a_table_of_samples_is_converted_and_needs_a_patient(folders, capsys):
    given, out = folders
    lines = [f"{place / 100:.2f};{np.sin(place / 8):.3f}" for place in range(600)]
    text = "time [s];II [mV]\n" + "\n".join(lines).replace(".", ",") + "\n"
    (given / "table.csv").write_text(text)
    assert main([COMMAND, str(given / "table.csv"), "--out", str(out)]) == 0
    assert "1 name no patient: complete the column patient" in capsys.readouterr().out
    found = wfdb_access.call("rdrecord", str(out / "table"))
    assert found.fs == 100
    expected = np.sin(np.arange(600) / 8)
    assert found.p_signal[:, 0] == pytest.approx(expected, abs=1.1e-3)


def test_missing_samples_stay_missing(folders):
    given, out = folders
    lines = ["" if place in (50, 51) else f"{np.sin(place / 8):.3f}" for place in range(600)]
    text = "\n".join(f"{line},1.{place % 7}" for place, line in enumerate(lines))
    (given / "t.csv").write_text("I,II\n" + text)
    assert main([COMMAND, str(given / "t.csv"), "--fs", "100", "--out", str(out)]) == 0
    found = wfdb_access.call("rdrecord", str(out / "t")).p_signal
    assert np.flatnonzero(np.isnan(found[:, 0])).tolist() == [50, 51]


def test_a_file_that_cannot_be_converted_costs_itself_alone(folders, capsys):
    given, out = folders
    dicom(given / "good.dcm", stored(8))
    dicom(given / "bad.dcm", stored(8))
    (given / "bad.dcm").write_bytes((given / "bad.dcm").read_bytes()[:-4000])
    (given / "song.mp3").write_bytes(b"ID3\3" + bytes(200))
    files = [str(given / name) for name in ("bad.dcm", "song.mp3", "none.dcm", "good.dcm")]
    assert main([COMMAND, *files, "--out", str(out)]) == 2
    printed = capsys.readouterr()
    assert "1 of 4 recordings written" in printed.out
    errors = printed.err.splitlines()
    assert len(errors) == 3
    assert all(
        error.startswith(f"error: {file}: ") for error, file in zip(errors, files[:3], strict=True)
    )
    assert "an MP3 sound" in errors[1]
    assert [row["record"] for row in rows(out)] == ["good"]


@pytest.mark.parametrize(
    ("table", "message"),
    [("name;value\n", "has no columns record and patient"), (b"\xff\xfe\0", "cannot be read as")],
)
def test_a_table_to_which_nothing_can_be_added_is_left_alone(folders, capsys, table, message):
    given, out = folders
    dicom(given / "e.dcm", stored(8))
    out.mkdir()
    content = table if isinstance(table, bytes) else table.encode()
    (out / "labels.csv").write_bytes(content)
    assert main([COMMAND, str(given), "--out", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert (out / "labels.csv").read_bytes() == content


def test_lines_are_added_below_what_a_person_has_filled_in(folders):
    given, out = folders
    dicom(given / "e.dcm", stored(8))
    out.mkdir()
    (out / "labels.csv").write_text("patient,record,ward,labels\np1,old,7,AF")
    assert main([COMMAND, str(given), "--out", str(out)]) == 0
    old, new = rows(out)
    assert old == {"patient": "p1", "record": "old", "ward": "7", "labels": "AF"}
    assert (new["record"], new["ward"], new["labels"]) == ("e", "", "")


def test_a_folder_without_recordings_and_a_unit_that_is_none_are_named(folders, capsys):
    given, out = folders
    assert main([COMMAND, str(given), "--out", str(out)]) == 2
    assert "no file of a hospital's format is in it" in capsys.readouterr().err
    assert main([COMMAND, "x.csv", "--unit", "NU", "--out", str(out)]) == 2
    assert "written in mV" in capsys.readouterr().err
