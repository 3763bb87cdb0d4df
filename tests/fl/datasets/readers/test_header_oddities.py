"""Headers as other programs write them: the right millivolts, or a verdict that names the line."""

import numpy as np
import pytest
from support.small_records import edit, waves, write

from fl.datasets.readers.lead_channels import UNNAMED_NOTE
from fl.datasets.readers.wfdb_header import DATE_NOTE, GAIN_NOTE, LENGTH_NOTE
from fl.datasets.readers.wfdb_signals import (
    CHECKSUM_NOTE,
    IGNORED_NOTE,
    LONGER_NOTE,
    read_waveform,
)
from fl.util.errors import UnusableRecord

SIGNAL = waves(2, 4000)


def record(folder, **options):
    return write(folder, "A1", leads=("I", "II"), signal=SIGNAL, **options)


def read(stem, **options):
    return read_waveform(stem, **{"name": stem.name, "rates": (), "unit": "mV"} | options)


def refused(stem, **options):
    with pytest.raises(UnusableRecord) as error:
        read(stem, **options)
    return error.value


def edit_bytes(stem, old, new):
    header = stem.with_suffix(".hea")
    content = header.read_bytes()
    assert old in content
    header.write_bytes(content.replace(old, new))


MICRO = {
    "UTF-8 micro": "µV".encode(),
    "UTF-8 mu": "μV".encode(),
    "Latin-1": "µV".encode("latin-1"),
    "Latin-7": b"\xb5V",
    "DOS": "µV".encode("cp437"),
    "Shift JIS": "μV".encode("shift_jis"),
    "GBK": "μV".encode("gbk"),
    "EUC-KR": "μV".encode("euc_kr"),
    "Big5": "μV".encode("big5"),
    "UTF-8 twice": "µV".encode().decode("latin-1").encode(),
    "UTF-8 mu twice": "μV".encode().decode("latin-1").encode(),
    "u": b"uV",
    "small": b"uv",
    "capitals": b"UV",
    "in words": b"microvolts",
}


@pytest.mark.parametrize("encoding", MICRO)
def test_a_microvolt_is_a_thousandth_of_a_millivolt_in_any_encoding(tmp_path, encoding):
    stem = record(tmp_path)
    expected = read(stem).signal
    edit_bytes(stem, b"1000.0(0)/mV", b"1(0)/" + MICRO[encoding])
    np.testing.assert_allclose(read(stem).signal, expected, atol=1e-6)


@pytest.mark.parametrize(
    "field",
    [
        *("1e6(0)/V", "1000000/volt", "0.001/nV", "1000(0)/millivolts"),
        *("1.e3/mV", "1000", "1000/mv", "+1000(0.0)/mV"),
    ],
)
def test_each_unit_gives_the_same_millivolts(tmp_path, field):
    stem = record(tmp_path)
    expected = read(stem).signal
    edit(stem.with_suffix(".hea"), "1000.0(0)/mV", field)
    np.testing.assert_allclose(read(stem).signal, expected, rtol=1e-5)


def test_a_baseline_is_subtracted_and_an_absent_one_is_the_zero_of_the_converter(tmp_path):
    stem = record(tmp_path)
    expected = read(stem).signal
    edit(stem.with_suffix(".hea"), "1000.0(0)/mV 16 0", "1000/mV 16 500")
    np.testing.assert_allclose(read(stem).signal, expected - 0.5, atol=1e-5)


@pytest.mark.parametrize(
    "field",
    [
        *("1000.0(0)/mmHg", "1000/MV", "1000(0)/?V", "1000/", "1000,5/mV", "1000mV", "1000(0/mV"),
        *("1000(1,5)/mV", "0x10/mV", "1000(0)mV", "1e999/mV", "--1/mV"),
    ],
)
def test_a_gain_or_a_unit_that_is_not_known_is_named_and_not_guessed(tmp_path, field):
    stem = record(tmp_path)
    edit(stem.with_suffix(".hea"), "1000.0(0)/mV", field)
    verdict = refused(stem)
    assert verdict.reason == "bad-header"
    assert field.rpartition("/")[2] in verdict.detail
    assert "accepted" in verdict.detail or "read are" in verdict.detail


def test_a_header_in_utf_16_or_with_a_byte_order_mark_is_read(tmp_path):
    stem = record(tmp_path)
    text = stem.with_suffix(".hea").read_text()
    expected = read(stem).signal
    for encoding in ("utf-16", "utf-8-sig"):
        stem.with_suffix(".hea").write_bytes(text.replace("1000.0(0)/mV", "1/µV").encode(encoding))
        np.testing.assert_allclose(read(stem).signal, expected, atol=1e-6)


@pytest.mark.parametrize("line", ["A1.dat 16 0 16 0", "A1.dat 16 0(0)/mV 16 0"])
def test_gain_0_is_200_units_per_millivolt_and_is_noted(tmp_path, line):
    stem = record(tmp_path)
    expected = read(stem).signal
    edit(stem.with_suffix(".hea"), "A1.dat 16 1000.0(0)/mV 16 0", line)
    wave = read(stem)
    np.testing.assert_allclose(wave.signal, expected * 5, rtol=1e-5)
    assert GAIN_NOTE in wave.notes


def test_a_missing_gain_is_200_units_per_millivolt_and_is_noted(tmp_path):
    stem = record(tmp_path)
    expected = read(stem).signal
    header = stem.with_suffix(".hea")
    header.write_text(f"{header.read_text().splitlines()[0]}\nA1.dat 16 I\nA1.dat 16 II\n")
    wave = read(stem)
    np.testing.assert_allclose(wave.signal, expected * 5, rtol=1e-5)
    assert wave.notes == (GAIN_NOTE, CHECKSUM_NOTE)


@pytest.mark.parametrize("rate", ["500,0", "500Hz", "500 Hz", "5OO", "-500", "0", "1/500", "nan"])
def test_a_sampling_rate_is_not_guessed(tmp_path, rate):
    stem = record(tmp_path)
    edit(stem.with_suffix(".hea"), "A1 2 500 ", f"A1 2 {rate} ")
    verdict = refused(stem, rates=(500.0,))
    assert verdict.reason in (("wrong-rate",) if rate == "1/500" else ("bad-header",))
    assert "line 1" in verdict.detail or rate == "1/500"


def test_a_header_without_a_sampling_rate_is_refused(tmp_path):
    stem = record(tmp_path)
    edit(stem.with_suffix(".hea"), "A1 2 500 4000", "A1 2")
    assert "no sampling rate" in refused(stem).detail


@pytest.mark.parametrize("rate", ["500", "500.", "5e2", "+500.00", "500/1000", "500/500(0)"])
def test_each_way_to_write_a_rate_is_read(tmp_path, rate):
    stem = record(tmp_path)
    edit(stem.with_suffix(".hea"), "A1 2 500 ", f"A1 2 {rate} ")
    assert read(stem).fs == 500


@pytest.mark.parametrize(
    ("rest", "note"),
    [
        ("4000 12:30:00 25/04/1989", None),
        ("4000 12:30:00 25/04/1989  \t ", None),
        ("4000 12:30", None),
        ("4000 2006", DATE_NOTE),
        ("4000 12:30:00 2006", DATE_NOTE),
        ("4000 12:30:00 04/25/1989", DATE_NOTE),
        ("4000 12:30:00 1989-04-25", DATE_NOTE),
        ("4000 25/04/1989", DATE_NOTE),
        ("4000 12:30:00 25/04/1989 summer", DATE_NOTE),
        ("4000 [12:30:00 25/04/1989]", DATE_NOTE),
    ],
)
def test_a_date_never_refuses_a_record(tmp_path, rest, note):
    stem = record(tmp_path)
    edit(stem.with_suffix(".hea"), "A1 2 500 4000", f"A1 2 500 {rest}")
    wave = read(stem)
    assert wave.signal.shape == (2, 4000)
    assert wave.notes == ((note,) if note else ())
    assert "1989" not in "".join(wave.notes)


@pytest.mark.parametrize("rest", ["", "0", "12:30:00 25/04/1989", "0 12:30:00", "1989-04-25"])
def test_a_length_that_is_0_or_absent_follows_from_the_file(tmp_path, rest):
    stem = record(tmp_path)
    expected = read(stem).signal
    edit(stem.with_suffix(".hea"), "A1 2 500 4000", f"A1 2 500 {rest}")
    wave = read(stem)
    np.testing.assert_array_equal(wave.signal, expected)
    assert LENGTH_NOTE in wave.notes


@pytest.mark.parametrize("length", ["4000.0", "4,000", "-4000", "4000s"])
def test_a_length_that_is_no_number_is_refused(tmp_path, length):
    stem = record(tmp_path)
    edit(stem.with_suffix(".hea"), "A1 2 500 4000", f"A1 2 500 {length}")
    assert repr(length) in refused(stem).detail


def without_sums(stem, sums):
    """The header with other checksums: "0 0" for `first sample, sum`, or none at all."""
    header = stem.with_suffix(".hea")
    first, *lines = header.read_text().splitlines()
    kept = [line.split()[:5] for line in lines]
    leads = [line.split()[-1] for line in lines]
    changed = [" ".join([*fields, *sums, lead]) for fields, lead in zip(kept, leads, strict=True)]
    header.write_text("\n".join([first, *changed]) + "\n")


@pytest.mark.parametrize("sums", [[], ["0"], ["17", "0"], ["0", "0", "0"]])
def test_a_checksum_of_0_or_none_is_not_checked_and_that_is_noted(tmp_path, sums):
    stem = record(tmp_path)
    without_sums(stem, sums)
    wave = read(stem)
    assert wave.leads == ("I", "II")
    assert wave.notes == (CHECKSUM_NOTE,)


def test_a_wrong_checksum_is_refused_unless_it_is_to_be_ignored(tmp_path):
    stem = record(tmp_path)
    expected = read(stem).signal
    without_sums(stem, ["0", "123", "0"])
    verdict = refused(stem)
    assert verdict.reason == "checksum"
    assert "--ignore-checksums" in verdict.detail
    wave = read(stem, ignore_checksums=True)
    np.testing.assert_array_equal(wave.signal, expected)
    assert wave.notes == (IGNORED_NOTE,)


def test_a_file_that_is_longer_than_the_header_says_is_noted(tmp_path):
    stem = record(tmp_path)
    without_sums(stem, ["0", "0", "0"])
    edit(stem.with_suffix(".hea"), "A1 2 500 4000", "A1 2 500 3000")
    wave = read(stem)
    assert wave.signal.shape == (2, 3000)
    assert LONGER_NOTE in wave.notes


@pytest.mark.parametrize("suffix", [".HEA", ".Hea"])
def test_suffixes_may_have_capitals(tmp_path, suffix):
    stem = record(tmp_path)
    expected = read(stem).signal
    stem.with_suffix(".hea").rename(stem.with_suffix(suffix))
    stem.with_suffix(".dat").rename(stem.with_suffix(".DAT"))
    np.testing.assert_array_equal(read(stem).signal, expected)


def test_a_header_may_write_the_signals_suffix_in_another_case_than_its_file(tmp_path):
    stem = record(tmp_path, mat=True)
    expected = read(stem).signal
    edit(stem.with_suffix(".hea"), "A1.mat", "A1.MAT")
    np.testing.assert_array_equal(read(stem).signal, expected)


@pytest.mark.parametrize("form", ["16x2", "16:5", "99", "0"])
def test_a_form_of_signal_that_is_not_read_is_named(tmp_path, form):
    stem = record(tmp_path)
    edit(stem.with_suffix(".hea"), "A1.dat 16 ", f"A1.dat {form} ")
    verdict = refused(stem)
    assert verdict.reason == "bad-header"
    assert "not read" in verdict.detail


def test_one_signal_named_ecg_is_lead_i_and_that_is_noted(tmp_path):
    stem = write(tmp_path, "A1", leads=("ECG",), signal=SIGNAL[:, :1])
    wave = read(stem)
    assert wave.leads == ("I",)
    assert wave.notes == (UNNAMED_NOTE,)


def test_signals_that_are_no_leads_are_named(tmp_path):
    stem = write(tmp_path, "A1", leads=("Lead II", "RESP", "ECG"), signal=waves(3, 4000))
    wave = read(stem)
    assert wave.leads == ("II",)
    assert wave.notes == ("signals that are no lead of the twelve, not read: RESP, ECG",)


@pytest.mark.parametrize(
    ("names", "leads"),
    [
        (("C1", "C2", "C3", "C4", "C5", "C6"), ("V1", "V2", "V3", "V4", "V5", "V6")),
        (("DII", "c1", "C 5"), ("II", "V1", "V5")),
        (("MDC_ECG_LEAD_II", "MDC_ECG_LEAD_C2", "C3"), ("II", "V2")),
        (("II", "C3", "C4"), ("II",)),  # electrodes of an EEG, as a sleep laboratory has them
        (("II", "C1", "C2", "F3"), ("II",)),
        (("D1", "D3", "aV F", "lead_V1"), ("I", "III", "aVF", "V1")),
    ],
)
def test_synonyms_are_read_where_they_can_only_mean_a_lead(tmp_path, names, leads):
    stem = write(tmp_path, "A1", leads=names, signal=waves(len(names), 4000))
    assert read(stem).leads == leads


@pytest.mark.parametrize("names", [("C3", "C4"), ("C1", "C2"), ("ECG", "EKG"), ("I-II", "-aVR")])
def test_names_that_may_mean_another_signal_are_refused_by_name(tmp_path, names):
    stem = write(tmp_path, "A1", leads=names, signal=waves(len(names), 4000))
    verdict = refused(stem)
    assert verdict.reason == "lead-names"
    assert ", ".join(names) in verdict.detail
