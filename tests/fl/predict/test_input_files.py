"""A file is known by its content; whatever it is, there is a recording or one clear line."""

import gzip
import io
import struct
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hospital_files import WRITERS, dicom, edf, secrets_in, stored
from support.small_records import write

from fl.datasets.readers import wfdb_access
from fl.datasets.readers.exports.formats.content import kind_of_bytes, without_suffix
from fl.predict.input_files import read_record
from fl.predict.recording_list import recordings_named
from fl.util.errors import ConfigError, DataError


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("file", ["ecg", "ecg.dcm", "ecg.csv", "ecg.dat"])
def test_a_recording_is_read_whatever_its_file_is_called(tmp_path, name, file):
    WRITERS[name](tmp_path / file, stored(8))
    record = read_record(str(tmp_path / file), None, "")
    assert (record.fs, len(record.leads), record.unit) == (500.0, 12, "mV")
    assert (record.patient, record.age, record.sex, record.group) == ("ecg", None, "", "")
    assert not secrets_in(repr(record))


def test_a_recording_without_a_unit_to_trust_may_be_read_as_such(tmp_path):
    edf(tmp_path / "x.edf", stored(8))
    assert read_record(str(tmp_path / "x.edf"), None, "NU").unit == "NU"


def zipped(name):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(name, b"x" * 100)
    return target.getvalue()


def sound():
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setparams((1, 2, 500, 0, "NONE", ""))
        file.writeframes(bytes(1000))
    return target.getvalue()


OTHERS = {
    "a PNG image": b"\x89PNG\r\n\x1a\n" + bytes(99),
    "a JPEG image": b"\xff\xd8\xff\xe0" + bytes(99),
    "a PDF document": b"%PDF-1.7\n%\xe2\xe3",
    "an MP3 sound": b"ID3\x04" + bytes(99),
    "a WAV sound": sound(),
    "a ZIP archive": zipped("ecg.csv"),
    "an Excel workbook": zipped("xl/workbook.xml"),
    "an old Excel or Word file": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99),
    "a gzip archive": gzip.compress(b"I\n1\n"),
    "an HDF5 or MATLAB 7.3 file": b"\x89HDF\r\n\x1a\n" + bytes(99),
    "a NumPy file": b"\x93NUMPY\x01\x00" + bytes(99),
    "a BDF file": b"\xffBIOSEMI" + bytes(300),
    "a web page": b"<!DOCTYPE html>\n<html><body>ECG</body></html>",
    "an XML file of an unknown kind": b'<?xml version="1.0"?><ecg-of-nobody/>',
    "a binary file of an unknown kind": struct.pack("<200h", *range(200)),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("file", ["x.csv", "x", "x.edf"])
def test_what_is_no_recording_is_named_with_what_to_do(tmp_path, name, file):
    (tmp_path / file).write_bytes(OTHERS[name])
    with pytest.raises(DataError) as refused:
        read_record(str(tmp_path / file), 500, "")
    message = str(refused.value)
    assert f"{file}: is {name}, not a recording. " in message
    assert "\n" not in message


def test_an_mp3_sound_without_a_tag_is_named():
    assert kind_of_bytes(b"\xff\xfb\x90\x00" + bytes(99)).name == "an MP3 sound"


@given(st.binary(max_size=300))
def test_any_bytes_are_a_kind_or_text(head):
    kind = kind_of_bytes(head)
    assert kind is None or kind.name


@pytest.mark.parametrize(
    ("file", "name"),
    [("a.dcm", "a"), ("A.DCM", "A"), ("1.2.840.113", "1.2.840.113"), ("w/e.xml", "w/e")],
)
def test_only_the_suffix_of_a_format_is_no_part_of_a_name(file, name):
    assert without_suffix(file) == name


def test_text_of_another_name_is_no_table(tmp_path):
    (tmp_path / "notes.md").write_text("I,II\n1,2\n")
    with pytest.raises(DataError, match=r"is text, but its name does not end in \.csv, \.tsv"):
        read_record(str(tmp_path / "notes.md"), 500, "")


def test_files_of_wfdb_records_are_still_those_of_wfdb_records(tmp_path):
    stem = write(tmp_path, "ecg-1", leads=("I", "II"))
    assert read_record(str(stem), None, "").leads == ("I", "II")
    dicom(tmp_path / "ecg-1", stored(8))  # beside the header of a WFDB record
    for text in (str(stem), f"{stem}.hea"):
        assert read_record(text, None, "").leads == ("I", "II")
    with pytest.raises(DataError, match="Name its header"):
        read_record(f"{stem}.dat", None, "")
    with pytest.raises(DataError, match="no such file"):
        read_record(str(tmp_path / "none.csv"), 500, "")


def test_capitals_in_suffixes_are_those_of_a_wfdb_record(tmp_path):
    stem = write(tmp_path, "ecg-1", leads=("I", "II"))
    wfdb_access.call("wrann", "ecg-1", "atr", np.array([100, 600]), ["N", "V"], write_dir=tmp_path)
    for suffix in (".hea", ".dat", ".atr"):
        Path(f"{stem}{suffix}").rename(f"{stem}{suffix.upper()}")
    record = read_record(f"{stem}.HEA", None, "")
    assert record.annotations.symbols == ("N", "V")
    with pytest.raises(DataError, match=r"Name its header: .*ecg-1\.HEA"):
        read_record(f"{stem}.DAT", None, "")


def test_an_empty_file_is_called_empty(tmp_path):
    (tmp_path / "x.edf").touch()
    with pytest.raises(DataError, match=r"x\.edf: is empty"):
        read_record(str(tmp_path / "x.edf"), None, "")


def test_a_single_beat_is_one_clear_line(tmp_path):
    beat = np.exp(-(((np.arange(100) - 40) / 4) ** 2))
    (tmp_path / "beat.csv").write_text("II\n" + "\n".join(f"{v:.4f}" for v in beat))
    with pytest.raises(DataError, match="single heartbeats, cut out of recordings"):
        read_record(str(tmp_path / "beat.csv"), 125, "")
    record = read_record(str(tmp_path / "beat.csv"), 125, "", single_beats=True)
    assert (record.leads, record.unit, record.cut_beats.starts.tolist()) == (("II",), "NU", [0])


def test_a_table_without_a_header_needs_its_leads(tmp_path):
    rows = "\n".join(f"{np.sin(i / 9):.4f};{np.cos(i / 9):.4f}" for i in range(800))
    (tmp_path / "x.csv").write_text(rows)
    with pytest.raises(ConfigError, match="--leads I,II,V1"):
        read_record(str(tmp_path / "x.csv"), 100, "")
    assert read_record(str(tmp_path / "x.csv"), 100, "", ("V1", "I")).leads == ("I", "V1")


def test_a_folder_names_its_files_of_every_format(tmp_path):
    for place, writer in enumerate(WRITERS.values()):
        writer(tmp_path / f"e{place}", stored(8))
    write(tmp_path, "wfdb-1", leads=("I", "II"))
    (tmp_path / "labels.csv").write_text("record,patient,labels\n")
    (tmp_path / "notes.txt").write_text("of the ward\n")
    listed = recordings_named([str(tmp_path)])
    names = [*(f"e{place}" for place in range(8)), "wfdb-1.hea"]
    assert listed.names == [str(tmp_path / name) for name in names]
    assert listed.left_out() == "not recordings, and left out: 1 .csv, 1 .txt"
