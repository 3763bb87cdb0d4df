"""Files in hospitals' formats give their samples exactly, or a verdict; nothing of the patient."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.hospital_files import (
    EIGHT,
    STEP,
    WRITERS,
    dicom,
    edf,
    ge_muse,
    scp_ecg,
    secrets_in,
    stored,
)

from fl.datasets.data_report import check
from fl.datasets.own_folder import parse_source
from fl.datasets.readers.exports.formats.content import FORMATS, kind_of
from fl.datasets.readers.exports.formats.recording import read_hospital_file, read_recording
from fl.util.errors import UnusableRecord

NAMES = list(WRITERS)


def verdict(path):
    with pytest.raises(UnusableRecord) as refused:
        read_hospital_file(path, path.name)
    assert not secrets_in(str(refused.value), refused.value.detail)
    return refused.value


@pytest.mark.parametrize("name", NAMES)
def test_the_samples_are_those_that_were_stored(tmp_path, name):
    values = stored(8, fs=250)
    path = tmp_path / "no suffix tells"
    WRITERS[name](path, values, fs=250)
    assert kind_of(path).name == name
    wave = read_hospital_file(path, "x")
    assert wave.fs == 250.0
    found = wave.signal[[wave.leads.index(lead) for lead in EIGHT]]
    assert np.array_equal(found, (values * STEP).astype(np.float32))


@pytest.mark.parametrize("name", NAMES)
def test_limb_leads_follow_from_leads_one_and_two(tmp_path, name):
    WRITERS[name](tmp_path / "x", stored(8))
    wave = read_hospital_file(tmp_path / "x", "x")
    assert len(wave.leads) == 12
    lead = dict(zip(wave.leads, wave.signal, strict=True))
    assert lead["III"] == pytest.approx(lead["II"] - lead["I"], abs=1e-6)
    assert lead["aVR"] + lead["aVL"] + lead["aVF"] == pytest.approx(0 * lead["I"], abs=1e-6)
    assert wave.notes[0] == "III, aVR, aVL, aVF were computed from I and II"
    assert lead["aVF"] == pytest.approx((lead["II"] + lead["III"]) / 2, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_two_leads_has_two_leads(tmp_path, name):
    WRITERS[name](tmp_path / "x", stored(2), leads=("II", "V5"))
    assert read_hospital_file(tmp_path / "x", "x").leads == ("II", "V5")


def test_the_ecg_that_pydicom_ships_is_read_as_pydicom_reads_it():
    from pydicom import dcmread
    from pydicom.data import get_testdata_file

    path = Path(get_testdata_file("waveform_ecg.dcm", download=False))
    wave = read_hospital_file(path, "x")
    group = dcmread(path).WaveformSequence[0]
    assert group.MultiplexGroupLabel == "RHYTHM"
    assert (wave.fs, len(wave.leads)) == (float(group.SamplingFrequency), 12)
    microvolts = dcmread(path).waveform_array(0)
    for place, channel in enumerate(group.ChannelDefinitionSequence):
        lead = channel.ChannelSourceSequence[0].CodeMeaning.split()[1]
        found = wave.signal[wave.leads.index(lead)]
        assert found == pytest.approx(microvolts[:, place] / 1000, abs=1e-6)


def test_the_signals_that_pyedflib_ships_are_read_as_pyedflib_reads_them(tmp_path):
    import pyedflib

    path = Path(pyedflib.__file__).parent / "data" / "test_generator.edf"
    assert verdict(path).reason == "lead-names"
    # The same file with a label that is a lead's: of the eleven signals the one of 8 Hz.
    content = bytearray(path.read_bytes())
    with pyedflib.EdfReader(str(path)) as reader:
        place = reader.getSignalLabels().index("sine 8 Hz")
        expected, unit = reader.readSignal(place), reader.getPhysicalDimension(place)
        rate = reader.getSampleFrequency(place)
    start = 256 + 16 * place
    content[start : start + 16] = b"Lead II".ljust(16)
    (tmp_path / "x.edf").write_bytes(content)
    wave = read_hospital_file(tmp_path / "x.edf", "x")
    assert (unit, wave.fs, wave.leads) == ("uV", rate, ("II",))
    assert wave.signal[0] == pytest.approx(expected / 1000, abs=1e-6)


def test_a_rate_that_is_no_whole_number_is_kept(tmp_path):
    edf(tmp_path / "x.edf", stored(8, fs=128), fs=128)
    content = bytearray((tmp_path / "x.edf").read_bytes())
    content[192:197] = b" " * 5  # EDF: that it is EDF+ and has the time of each data record
    content[244:252] = b"1.5".ljust(8)  # seconds of a data record
    (tmp_path / "x.edf").write_bytes(content)
    assert read_hospital_file(tmp_path / "x.edf", "x").fs == pytest.approx(128 / 1.5)
    dicom(tmp_path / "x.dcm", stored(8), fs=499.7)
    assert read_hospital_file(tmp_path / "x.dcm", "x").fs == 499.7


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_ends_early_is_not_read_as_whole(tmp_path, name):
    path = tmp_path / "x"
    WRITERS[name](path, stored(8))
    path.write_bytes(path.read_bytes()[:-4001])
    assert verdict(path).reason in ("truncated", "bad-signal", "checksum")


def test_a_damaged_sum_is_a_verdict(tmp_path):
    path = tmp_path / "x.scp"
    WRITERS["SCP-ECG"](path, stored(8))
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    assert verdict(path).reason == "checksum"
    notes = read_hospital_file(path, "x", ignore_checksums=True).notes
    assert "which was ignored as asked" in notes[0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"<LeadAmplitudeUnits>MICROVOLTS": "<LeadAmplitudeUnits>FURLONGS"}, "bad-header"),
        ({"<LeadAmplitudeUnits>MICROVOLTS": "<LeadAmplitudeUnits>VOLTS"}, "amplitude"),
        ({"UnitsPerBit>5<": "UnitsPerBit>5000<"}, "amplitude"),
        ({"<LeadID>V6": "<LeadID>II"}, "lead-names"),
        ({f"<LeadID>{lead}<": "<LeadID>W<" for lead in EIGHT}, "lead-names"),
        ({"<SampleBase>500": "<SampleBase>0"}, "bad-signal"),
        ({"<WaveformType>Rhythm": "<WaveformType>Other"}, "bad-signal"),
    ],
)
def test_what_a_file_states_is_not_believed(tmp_path, change, reason):
    path = tmp_path / "x.xml"
    ge_muse(path, stored(8))
    text = path.read_text(encoding="latin-1")
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text, encoding="latin-1")
    assert verdict(path).reason == reason


def test_what_stays_at_one_value_is_no_signal(tmp_path):
    values = stored(8, seconds=10)
    values[:, 1000:] = 0  # 2 s of ECG
    dicom(tmp_path / "x", values)
    assert verdict(tmp_path / "x").detail.startswith("I flat, II flat")


def test_a_gap_in_time_is_a_verdict(tmp_path):
    path = tmp_path / "x.edf"
    edf(path, stored(8))
    content = path.read_bytes().replace(b"EDF+C", b"EDF+D").replace(b"+5\x14", b"+9\x14")
    path.write_bytes(content)
    assert verdict(path).detail == "EDF: it has gaps in time"


def test_a_short_or_flat_recording_has_its_verdict(tmp_path):
    dicom(tmp_path / "short", stored(8, seconds=3))
    dicom(tmp_path / "flat", stored(8) * 0)
    assert verdict(tmp_path / "short").detail == "3.0 s; at least 5 s"
    assert verdict(tmp_path / "flat").reason == "no-signal"


@pytest.mark.parametrize("missing", ["ecgdatakit", "pydicom"])
def test_without_the_extra_the_format_is_named_with_the_install_line(
    tmp_path, monkeypatch, missing
):
    dicom(tmp_path / "x.bin", stored(8))
    for name in [n for n in sys.modules if n.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    refused = verdict(tmp_path / "x.bin")
    assert refused.reason == "no-reader"
    assert "DICOM" in refused.detail
    assert "pip install 'heartfed[formats]'" in refused.detail


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_damaged_file_is_read_or_has_a_verdict(tmp_path, data):
    path = tmp_path / "x"
    WRITERS[data.draw(st.sampled_from(NAMES))](path, stored(8, seconds=6, fs=100), fs=100)
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, min(2000, len(content) - 1)), max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    wave, refused = None, ""
    try:
        wave = read_hospital_file(path, "x")
    except UnusableRecord as error:
        refused = str(error)
    assert not secrets_in(refused)
    assert wave is None or (np.isfinite(wave.signal).all() and 0 < wave.fs < 1e6)


@pytest.fixture
def archive(tmp_path):
    """An own folder with one file of each format and a table of labels."""
    lines = ["record,patient,labels,age,sex"]
    for place, name in enumerate(NAMES):
        (tmp_path / "ward").mkdir(exist_ok=True)
        suffix = next(f.suffixes[0] for f in FORMATS if f.name == name)
        WRITERS[name](tmp_path / "ward" / f"e{place}{suffix}", stored(8, seed=place))
        # A record may be listed with the suffix of its file, or without.
        lines.append(f"ward/e{place}{suffix if place % 2 else ''},p{place // 2},AF,70,F")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    return parse_source(f"mysite={tmp_path}")


def test_an_own_folder_may_have_files_of_any_format(archive, tmp_path):
    names = [f"ward/e{place}" for place in range(len(NAMES))]
    assert archive.record_names(tmp_path) == names
    assert len(archive.files(tmp_path)) == len(NAMES) + 1
    report = check([archive], tmp_path).sources[0]
    assert (report.usable, report.patients, report.unusable) == (len(NAMES), 4, {})
    assert not secrets_in(repr(report))


def test_two_files_that_would_be_one_record_are_named(archive, tmp_path):
    edf(tmp_path / "ward" / "e0.edf", stored(8))
    with pytest.raises(UnusableRecord, match=r"e0\.dcm and e0\.edf would be one record"):
        archive.read(tmp_path, "ward/e0")


def test_the_parts_that_are_not_read_are_noted(tmp_path):
    from pydicom import dcmread

    dicom(tmp_path / "x", stored(8))
    one = dcmread(tmp_path / "x")
    one.WaveformSequence.append(one.WaveformSequence[1])
    one.save_as(tmp_path / "x")
    recording, _ = read_recording(tmp_path / "x", "x")
    assert recording.notes == ("it has further parts, which are not read",)


def test_leads_that_do_not_begin_together_are_refused(tmp_path):
    scp_ecg(tmp_path / "x.scp", stored(8), late=1)
    assert verdict(tmp_path / "x.scp").detail == "lead I begins later than the others"


def test_the_library_is_loaded_only_where_a_file_needs_it():
    """Processes of Ray load the sources' modules; a second of imports each would be felt."""
    modules = "fl.datasets, fl.datasets.own_folder, fl.predict.input_files, fl.data.preprocessing"
    code = f"import sys, {modules}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & {"ecgdatakit", "pydicom", "xmltodict", "defusedxml", "pyedflib", "wfdb"}
