"""Records of several segments, in fixed and in variable layout."""

import numpy as np
import pytest
from support.small_records import edit, waves, write

from fl.datasets.readers.wfdb_signals import read_waveform
from fl.datasets.record_discovery import record_stems
from fl.util.errors import UnusableRecord

LEADS = ("II", "V1")
SIGNAL = waves(2, 8000)


def read(stem):
    return read_waveform(stem, name=stem.name, rates=(), unit="mV")


def refusal(stem):
    with pytest.raises(UnusableRecord) as error:
        read(stem)
    return error.value


def master(folder, lines, name="p1", length=8000, fs=500):
    header = folder / f"{name}.hea"
    header.write_text(
        "\n".join([f"{name}/{len(lines)} 2 {fs} {length}", *lines, "# Age: 70"]) + "\n"
    )
    return header.with_suffix("")


def test_segments_of_fixed_layout_are_joined(tmp_path):
    for name, part in (("p1_1", SIGNAL[:3000]), ("p1_2", SIGNAL[3000:])):
        write(tmp_path, name, leads=LEADS, signal=part)
    wave = read(master(tmp_path, ["p1_1 3000", "p1_2 5000"]))
    assert wave.leads == LEADS
    np.testing.assert_allclose(wave.signal, SIGNAL.T, atol=6e-4)
    assert wave.comments == ("Age: 70",)


def test_segments_of_variable_layout_may_have_other_leads_gains_and_gaps(tmp_path):
    write(tmp_path, "77_0001", leads=LEADS, signal=SIGNAL[:4000])
    write(tmp_path, "77_0002", leads=("V1", "II"), signal=SIGNAL[4200:, ::-1])
    edit(tmp_path / "77_0002.hea", "1000.0(0)/mV", "1(0)/uV")
    (tmp_path / "77_layout.hea").write_text(
        "77_layout 2 500 0\n~ 0 1/mV 0 0 0 0 0 II\n~ 0 1/mV 0 0 0 0 0 V1\n"
    )
    wave = read(master(tmp_path, ["77_layout 0", "77_0001 4000", "~ 200", "77_0002 3800"]))
    np.testing.assert_allclose(wave.signal[:, :4000], SIGNAL.T[:, :4000], atol=6e-4)
    np.testing.assert_allclose(wave.signal[:, 4200:], SIGNAL.T[:, 4200:], atol=6e-4)


def test_a_lead_that_most_segments_lack_is_missing(tmp_path):
    write(tmp_path, "p1_1", leads=("II",), signal=SIGNAL[:4000, :1])
    write(tmp_path, "p1_2", leads=LEADS, signal=SIGNAL[4000:])
    wave = read(master(tmp_path, ["p1_1 4000", "p1_2 4000"]))
    assert (wave.leads, wave.dropped) == (("II",), ("V1",))


def test_segments_are_read_with_their_record_and_are_no_records(tmp_path):
    for name in ("p1_1", "p1_2", "other"):
        write(tmp_path, name, leads=LEADS, signal=SIGNAL[:4000])
    master(tmp_path, ["p1_1 4000", "p1_2 4000"])
    assert set(record_stems(tmp_path)) == {"p1", "other"}


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["../secret 4000", "p1_2 4000"], "foreign-file"),
        (["/etc/passwd 4000", "p1_2 4000"], "foreign-file"),
        (["other 4000", "p1_2 4000"], "foreign-file"),
        (["p1_1 4000", "p1_3 4000"], "missing-file"),
        (["p1_1 3000", "p1_2 5000"], "bad-header"),
        (["p1_1 4000"], "bad-header"),  # the record says 8000
        (["p1_1 4000", "p1_2"], "bad-header"),
        (["p1_1 4000", "p1_2 many"], "bad-header"),
        (["~ 8000"], "bad-header"),
    ],
)
def test_segments_that_do_not_fit_are_refused(tmp_path, lines, reason):
    for name in ("p1_1", "p1_2", "other"):
        write(tmp_path, name, leads=LEADS, signal=SIGNAL[:4000])
    assert refusal(master(tmp_path, lines)).reason == reason


def test_segments_of_another_rate_and_records_within_records_are_refused(tmp_path):
    for name in ("p1_1", "p1_2"):
        write(tmp_path, name, leads=LEADS, signal=SIGNAL[:4000])
    assert refusal(master(tmp_path, ["p1_1 4000", "p1_2 4000"], fs=250)).reason == "bad-header"
    master(tmp_path, ["p1_1 8000"], name="p1_2")
    assert refusal(master(tmp_path, ["p1_1 4000", "p1_2 4000"])).reason == "bad-header"


def test_a_damaged_segment_refuses_the_record(tmp_path):
    for name in ("p1_1", "p1_2"):
        write(tmp_path, name, leads=LEADS, signal=SIGNAL[:4000])
    content = bytearray((tmp_path / "p1_2.dat").read_bytes())
    content[500] ^= 16
    (tmp_path / "p1_2.dat").write_bytes(bytes(content))
    assert refusal(master(tmp_path, ["p1_1 4000", "p1_2 4000"])).reason == "checksum"
