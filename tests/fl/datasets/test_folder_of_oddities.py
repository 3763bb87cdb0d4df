"""`check` says the right thing about every file of a folder as hospitals have them."""

import json

import numpy as np
import pytest
from support.small_records import write

from fl.datasets.__main__ import main
from fl.datasets.own_folder import parse_source
from fl.datasets.readers.exports.unread_files import TEXT, WITHOUT_HEADER
from fl.datasets.readers.wfdb_header import DATE_NOTE, GAIN_NOTE, LENGTH_NOTE

GAIN = "1000.0(0)/mV"  # as `write` has it
LISTED = ("ok", "micro", "gain0", "rate", "date", "flat", "capitals", "leads", "truncated", "sum")
LISTED += ("no-sum", "no-length", "volts", "ghost")


def changed(folder, name, old, new, encoding="utf-8"):
    """Write a header with one text in place of another, which must be there."""
    path = folder / f"{name}.hea"
    text = path.read_text()
    assert old in text
    path.write_bytes(text.replace(old, new).encode(encoding))


def with_checksum(folder, name, value):
    path = folder / f"{name}.hea"
    first, *lines = path.read_text().splitlines()
    fields = [line.split() for line in lines]
    path.write_text("\n".join([first, *(" ".join([*f[:6], value, *f[7:]]) for f in fields)]) + "\n")


@pytest.fixture
def folder(tmp_path):
    for seed, name in enumerate((*LISTED[:-1], "no-row")):
        write(tmp_path, name, seed=seed)
    changed(tmp_path, "micro", GAIN, "1(0)/µV", encoding="latin-1")
    changed(tmp_path, "gain0", GAIN, "0")
    changed(tmp_path, "rate", " 500 ", " 500Hz ")
    changed(tmp_path, "date", " 4000\n", " 4000 12:00:00 2006\n")
    changed(tmp_path, "leads", " V6", " Resp")
    changed(tmp_path, "no-length", " 500 4000", " 500")
    changed(tmp_path, "volts", GAIN, "1(0)/mV")
    with_checksum(tmp_path, "sum", "77")
    with_checksum(tmp_path, "no-sum", "0")
    samples = np.fromfile(tmp_path / "flat.dat", dtype="<i2").reshape(-1, 12)
    samples[1000:] = 0  # 2 s of ECG and 6 s of zeros
    samples.tofile(tmp_path / "flat.dat")
    with_checksum(tmp_path, "flat", "0")
    for suffix in (".hea", ".dat"):
        (tmp_path / f"capitals{suffix}").rename(tmp_path / f"capitals{suffix.upper()}")
    whole = (tmp_path / "truncated.dat").read_bytes()
    (tmp_path / "truncated.dat").write_bytes(whole[:2000])
    (tmp_path / "alone.dat").write_bytes(b"123")
    (tmp_path / "letter.pdf").write_bytes(b"%PDF-1.4")
    (tmp_path / "song.mp3").write_bytes(b"ID3\3" + bytes(100))
    (tmp_path / "book.xlsx").write_bytes(b"PK\3\4[Content_Types].xml")
    (tmp_path / "table.csv").write_text("I,II\n0,0\n")
    rows = [f"{name},p{number},AF" for number, name in enumerate(LISTED)]
    (tmp_path / "labels.csv").write_text("\n".join(["record,patient,labels", *rows]) + "\n")
    return tmp_path


def test_every_file_is_used_or_named(folder, capsys):
    call = ["check", "--task", "rhythm", "--json", f"mysite={folder}"]
    assert main(call) == 0
    (report,) = json.loads(capsys.readouterr().out)["sources"]
    assert report["unusable"] == {
        "amplitude": ["volts"],
        "bad-header": ["rate"],
        "checksum": ["sum"],
        "missing-file": ["ghost"],
        "no-row": ["no-row"],
        "no-signal": ["flat"],
        "truncated": ["truncated"],
    }
    assert "500Hz" in report["details"]["rate"]
    notes = {names[0]: note for note, names in report["record_notes"].items()}
    assert notes["gain0"] == GAIN_NOTE
    assert notes["date"] == DATE_NOTE
    assert notes["no-length"] == LENGTH_NOTE
    assert "Resp" in notes["leads"]
    assert "checksum" in notes["no-sum"]
    assert report["unread_files"] == {
        WITHOUT_HEADER: ["alone.dat"],
        "a PDF document": ["letter.pdf"],
        "an MP3 sound": ["song.mp3"],
        "an Excel workbook": ["book.xlsx"],
        TEXT: ["table.csv"],
    }
    left_out = sum(map(len, report["unusable"].values()))
    assert report["usable"] == report["records"] - left_out == 8


def test_the_tables_name_them_without_taking_a_word_for_a_record(folder, capsys, monkeypatch):
    """The record `rate` must not hide the word in "sampling rate"."""
    monkeypatch.setenv("COLUMNS", "250")
    assert main(["check", "--task", "rhythm", f"mysite={folder}"]) == 0
    shown = capsys.readouterr().out
    assert "the sampling rate is '500Hz'" in shown
    assert "<record>.hea does not exist" in shown
    for name in (*LISTED[2:5], "alone.dat", "letter.pdf", "song.mp3", "book.xlsx", "table.csv"):
        assert name in shown


def test_microvolts_are_microvolts(folder):
    """With any encoding of the micro sign, the same numbers are a thousandth of those in mV."""
    source = parse_source(f"mysite={folder}")
    micro, plain = (source.read(folder, name) for name in ("micro", "ok"))
    stored = np.fromfile(folder / "micro.dat", dtype="<i2").reshape(-1, 12).T
    np.testing.assert_allclose(micro.signal, stored / 1000, rtol=1e-6)
    assert 0.3 < np.abs(plain.signal).max() < 5


def test_every_verdict_is_shown_however_many_findings_there_are(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    names = [f"r{number:02d}" for number in range(30)]
    for number, name in enumerate(names):
        write(tmp_path, name, seed=number, seconds=6)
        changed(tmp_path, name, " 500 ", f" {number}Hz ")
    write(tmp_path, "unlisted", seconds=6)
    rows = "".join(f"{name},p-{name},AF\n" for name in (*names, "lost"))
    (tmp_path / "labels.csv").write_text("record,patient,labels\n" + rows)
    assert main(["check", "--task", "rhythm", f"mysite={tmp_path}"]) == 0
    shown = capsys.readouterr().out
    for verdict in ("bad-header", "missing-file", "no-row"):
        assert verdict in shown
    assert "25 other findings: see --json" in shown
