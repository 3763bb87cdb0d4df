"""Small synthetic files in the formats of hospitals, each written from its published specification.

Every file carries the same made-up patient, so that a test can search what is written for it.
"""

import base64
import binascii
import struct
from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path

import numpy as np

LAST, FIRST, ID = "Quixwind", "Zorbanella", "PID7731942"
BIRTH = date(1951, 3, 17)
RECORDED = datetime(2021, 6, 5, 14, 30)
# Everything that must not be found in what is written; dates in the forms that the files use.
SECRETS = (
    *(LAST, LAST.upper(), LAST.lower(), FIRST, FIRST.upper(), FIRST.lower(), ID, ID.lower()),
    *("7731942", "19510317", "1951-03-17", "17.03.51", "03-17-1951", "17-MAR-1951"),
)
STEP = 0.005  # mV of one step of the stored numbers
EIGHT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
CODES = {lead: number for number, lead in enumerate(EIGHT, start=1)} | {
    "III": 61,
    "aVR": 62,
    "aVL": 63,
    "aVF": 64,
}  # of SCP-ECG, DICOM and MFER


def secrets_in(*texts: str) -> list[str]:
    """What texts say of the patient, who must not be in any."""
    return [secret for secret in SECRETS for text in texts if secret in text]


def files_with_secrets(folder: Path) -> list[str]:
    """Files below a folder whose name or content says something of the patient."""
    found = []
    for path in (path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        for secret in SECRETS:
            forms = (secret.encode(), secret.encode("utf-16-le"))
            if secret in path.name or any(form in content for form in forms):
                found.append(f"{path.relative_to(folder)}: {secret}")
    return found


def stored(leads: int, seconds: float = 8, fs: float = 500, seed: int = 0) -> np.ndarray:
    """Stored numbers (lead, sample) of a synthetic ECG: a beat each second, and noise."""
    rng = np.random.default_rng([seed, leads])
    t = np.arange(round(seconds * fs)) / fs
    beat = np.exp(-(((t % 1.0) - 0.5) ** 2) / 2e-4)
    waves = np.outer(rng.uniform(0.4, 1.2, leads), beat) + rng.normal(0, 0.02, (leads, len(t)))
    return np.rint(waves / STEP).astype(np.int16)


def dicom(path: Path, values: np.ndarray, leads: Sequence[str] = EIGHT, fs: float = 500) -> None:
    """A 12-lead ECG object with a rhythm strip and, before it, a median beat."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, TwelveLeadECGWaveformStorage, generate_uid

    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID = TwelveLeadECGWaveformStorage
    one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID = generate_uid()
    one.PatientName, one.PatientID = f"{LAST}^{FIRST}", ID
    one.PatientBirthDate, one.PatientSex = f"{BIRTH:%Y%m%d}", "F"
    one.AcquisitionDateTime = f"{RECORDED:%Y%m%d%H%M%S}"
    median = _group(np.tile(values[:, :50], 2) * 0 + 7, leads, fs, "MEDIAN BEAT")
    one.WaveformSequence = [median, _group(values, leads, fs, "RHYTHM")]
    one.save_as(path, enforce_file_format=True)


def _group(values: np.ndarray, leads: Sequence[str], fs: float, label: str):
    from pydicom.dataset import Dataset

    group = Dataset()
    group.WaveformOriginality = "ORIGINAL"
    group.MultiplexGroupLabel = label
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = values.shape
    group.SamplingFrequency = f"{fs:g}"
    group.WaveformBitsAllocated, group.WaveformSampleInterpretation = 16, "SS"
    group.ChannelDefinitionSequence = [_channel(lead) for lead in leads]
    group.WaveformData = values.T.astype("<i2").tobytes()
    return group


def _channel(lead: str):
    from pydicom.dataset import Dataset

    channel = Dataset()
    channel.ChannelSourceSequence = [_code(f"5.6.3-9-{CODES[lead]}", "SCPECG", f"Lead {lead}")]
    channel.ChannelSensitivity = f"{1000 * STEP:g}"
    channel.ChannelSensitivityUnitsSequence = [_code("uV", "UCUM", "microvolt")]
    channel.ChannelSensitivityCorrectionFactor, channel.ChannelBaseline = "1", "0"
    channel.WaveformBitsStored = 16
    return channel


def _code(value: str, scheme: str, meaning: str):
    from pydicom.dataset import Dataset

    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def edf(path: Path, values: np.ndarray, leads: Sequence[str] = EIGHT, fs: float = 500) -> None:
    """EDF+, written by EDFlib."""
    import pyedflib

    with pyedflib.EdfWriter(str(path), len(leads), file_type=pyedflib.FILETYPE_EDFPLUS) as writer:
        writer.setPatientName(f"{FIRST}_{LAST}")
        writer.setPatientCode(ID)
        writer.setBirthdate(BIRTH)
        writer.setSex(0)
        writer.setStartdatetime(RECORDED)
        writer.setSignalHeaders([_edf_signal(lead, fs) for lead in leads])
        writer.writeSamples([np.ascontiguousarray(v, dtype=np.int32) for v in values], digital=True)


def _edf_signal(lead: str, fs: float) -> dict:
    return {
        "label": f"ECG {lead}",
        "dimension": "uV",
        "sample_frequency": fs,
        "physical_max": 1000 * STEP * 3000,
        "physical_min": -1000 * STEP * 3000,
        "digital_max": 3000,
        "digital_min": -3000,
        "prefilter": "",
        "transducer": "",
    }


def scp_ecg(
    path: Path,
    values: np.ndarray,
    leads: Sequence[str] = EIGHT,
    fs: float = 500,
    late: int = 0,
) -> None:
    """Sections 0, 1, 3 and 6 of EN 1064, the rhythm without compression.

    The first lead begins `late` samples after the others.
    """
    count = values.shape[1]
    tags = (
        _tag(0, LAST.encode() + b"\0")
        + _tag(1, FIRST.encode() + b"\0")
        + _tag(2, ID.encode() + b"\0")
        + _tag(5, struct.pack("<HBB", BIRTH.year, BIRTH.month, BIRTH.day))
        + _tag(8, b"\2")
        + _tag(25, struct.pack("<HBB", RECORDED.year, RECORDED.month, RECORDED.day))
        + _tag(255, b"")
    )
    definition = struct.pack("<BB", len(leads), 0x04 | len(leads) << 3) + b"".join(
        struct.pack("<IIB", 1 + begin, count + begin, CODES[lead])
        for lead, begin in zip(leads, (late, *(0,) * (len(leads) - 1)), strict=True)
    )
    rhythm = struct.pack("<HHBB", round(STEP * 1e6), round(1e6 / fs), 0, 0)
    rhythm += struct.pack(f"<{len(leads)}H", *[2 * count] * len(leads))
    rhythm += values.astype("<i2").tobytes()
    sections = {1: _section(1, tags), 3: _section(3, definition), 6: _section(6, rhythm)}
    length, place, pointers = 16 + 12 * 10, 7 + 16 + 12 * 10, b""
    for number in range(12):
        if number == 0:
            pointers += struct.pack("<HII", 0, length, 7)
            continue
        size = len(sections.get(number, b""))
        pointers += struct.pack("<HII", number, size, place if size else 0)
        place += size
    body = _section(0, pointers) + b"".join(sections.values())
    after = struct.pack("<I", len(body) + 6) + body
    path.write_bytes(struct.pack("<H", binascii.crc_hqx(after, 0xFFFF)) + after)


def _tag(number: int, value: bytes) -> bytes:
    return struct.pack("<BH", number, len(value)) + value


def _section(number: int, content: bytes) -> bytes:
    content += b"\0" * (len(content) % 2)
    name = b"SCPECG" if number == 0 else bytes(6)
    rest = struct.pack("<HIBB", number, 16 + len(content), 20, 20) + name + content
    return struct.pack("<H", binascii.crc_hqx(rest, 0xFFFF)) + rest


def hl7_aecg(path: Path, values: np.ndarray, leads: Sequence[str] = EIGHT, fs: float = 500) -> None:
    """An annotated ECG with a rhythm series and a representative beat derived from it."""
    rhythm, beat = (_sequences(v, leads, fs) for v in (values, values[:, :300] * 0 + 7))
    path.write_text(
        f"""<?xml version="1.0" encoding="UTF-8"?>
<AnnotatedECG xmlns="urn:hl7-org:v3"><id root="1.2.3"/>
<componentOf><timepointEvent><componentOf><subjectAssignment><subject><trialSubject>
<id root="1.2" extension="{ID}"/><subjectDemographicPerson>
<name><given>{FIRST}</given><family>{LAST}</family></name>
<administrativeGenderCode code="F"/><birthTime value="{BIRTH:%Y%m%d}"/>
</subjectDemographicPerson></trialSubject></subject></subjectAssignment></componentOf>
</timepointEvent></componentOf>
<component><series><code code="RHYTHM"/>
<effectiveTime><low value="{RECORDED:%Y%m%d%H%M%S}"/></effectiveTime>
{rhythm}
<derivation><derivedSeries><code code="REPRESENTATIVE_BEAT"/>{beat}</derivedSeries></derivation>
</series></component></AnnotatedECG>""",
        encoding="utf-8",
    )


def _sequences(values: np.ndarray, leads: Sequence[str], fs: float) -> str:
    time = f"""<component><sequence><code code="TIME_ABSOLUTE"/><value>
<head value="{RECORDED:%Y%m%d%H%M%S}"/><increment value="{1 / fs:.9g}" unit="s"/>
</value></sequence></component>"""
    found = "".join(
        f"""<component><sequence><code code="MDC_ECG_LEAD_{lead.upper()}"/><value>
<origin value="0" unit="uV"/><scale value="{1000 * STEP:g}" unit="uV"/>
<digits>{" ".join(map(str, row))}</digits></value></sequence></component>"""
        for lead, row in zip(leads, values.tolist(), strict=True)
    )
    return f"<component><sequenceSet>{time}{found}</sequenceSet></component>"


def ge_muse(path: Path, values: np.ndarray, leads: Sequence[str] = EIGHT, fs: float = 500) -> None:
    """An export with a median beat before the rhythm strip."""
    median, rhythm = (
        _muse_waveform(kind, v, leads, fs)
        for kind, v in (("Median", values[:, :300] * 0 + 7), ("Rhythm", values))
    )
    path.write_text(
        f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<!DOCTYPE RestingECG SYSTEM "restecg.dtd">
<RestingECG><PatientDemographics><PatientID>{ID}</PatientID>
<DateofBirth>{BIRTH:%m-%d-%Y}</DateofBirth><Gender>FEMALE</Gender>
<PatientLastName>{LAST.upper()}</PatientLastName><PatientFirstName>{FIRST.upper()}</PatientFirstName>
</PatientDemographics><TestDemographics><AcquisitionTime>14:30:00</AcquisitionTime>
<AcquisitionDate>{RECORDED:%m-%d-%Y}</AcquisitionDate></TestDemographics>
{median}{rhythm}</RestingECG>""",
        encoding="iso-8859-1",
    )


def _muse_waveform(kind: str, values: np.ndarray, leads: Sequence[str], fs: float) -> str:
    return (
        f"<Waveform><WaveformType>{kind}</WaveformType><SampleBase>{fs:g}</SampleBase>"
        "<SampleExponent>0</SampleExponent>"
        + "".join(
            f"""<LeadData><LeadByteCountTotal>{2 * len(row)}</LeadByteCountTotal>
<LeadSampleCountTotal>{len(row)}</LeadSampleCountTotal>
<LeadAmplitudeUnitsPerBit>{1000 * STEP:g}</LeadAmplitudeUnitsPerBit>
<LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits><LeadID>{lead}</LeadID>
<LeadSampleSize>2</LeadSampleSize>
<WaveFormData>{base64.b64encode(row.astype("<i2").tobytes()).decode()}</WaveFormData></LeadData>"""
            for lead, row in zip(leads, values, strict=True)
        )
        + "</Waveform>"
    )


def philips(path: Path, values: np.ndarray, leads: Sequence[str] = EIGHT, fs: float = 500) -> None:
    """An export of version 1.04, without compression, in UTF-16 as PageWriters write it."""
    numbers = base64.b64encode(values.astype("<i2").tobytes()).decode()
    path.write_text(
        f"""<?xml version="1.0" encoding="UTF-16"?>
<restingecgdata xmlns="http://www3.medical.philips.com">
<documentinfo><documenttype>SierraECG</documenttype><documentversion>1.04</documentversion>
</documentinfo>
<patient><generalpatientdata><patientid>{ID}</patientid>
<name><lastname>{LAST}</lastname><firstname>{FIRST}</firstname></name>
<age><dateofbirth>{BIRTH:%Y-%m-%d}</dateofbirth></age><sex>Female</sex>
</generalpatientdata></patient>
<dataacquisition date="{RECORDED:%Y-%m-%d}" time="14:30:00"><signalcharacteristics>
<samplingrate>{fs:g}</samplingrate><resolution>{1000 * STEP:g}</resolution>
<numberchannelsallocated>{len(leads)}</numberchannelsallocated>
</signalcharacteristics></dataacquisition>
<waveforms><parsedwaveforms dataencoding="Base64" compression="None"
durationperchannel="{1000 * values.shape[1] / fs:g}" samplespersecond="{fs:g}"
resolution="{1000 * STEP:g}" numberofleads="{len(leads)}" leadlabels="{" ".join(leads)}">
{numbers}</parsedwaveforms></waveforms></restingecgdata>""",
        encoding="utf-16",
    )


def mfer(path: Path, values: np.ndarray, leads: Sequence[str] = EIGHT, fs: float = 500) -> None:
    """One frame of 16-bit numbers, little-endian, with the interval in microseconds."""
    birth = struct.pack("<BHHBB", 70, 80, BIRTH.year, BIRTH.month, BIRTH.day)
    content = (
        _definition(0x40, b"MFR ".ljust(32))
        + _definition(0x01, b"\1")
        + _definition(0x81, f"{FIRST} {LAST}".encode())
        + _definition(0x82, ID.encode())
        + _definition(0x83, birth)
        + _definition(0x84, b"\2")
        + _definition(0x0B, struct.pack("<bbI", 1, -6, round(1e6 / fs)))
        + _definition(0x0C, struct.pack("<bbH", 0, -9, round(STEP * 1e6)))
        + _definition(0x04, struct.pack("<I", values.shape[1]))
        + _definition(0x05, struct.pack("<B", len(leads)))
        + _definition(0x06, struct.pack("<H", 1))
        + _definition(0x0A, b"\0")
    )
    for place, lead in enumerate(leads):
        content += bytes([0x3F, place, 4]) + _definition(0x09, struct.pack("<H", CODES[lead]))
    numbers = values.astype("<i2").tobytes()
    content += bytes([0x1E, 0x84]) + len(numbers).to_bytes(4, "big") + numbers
    path.write_bytes(content + bytes([0x80, 0]))


def _definition(tag: int, value: bytes) -> bytes:
    return bytes([tag, len(value)]) + value


ISHNE_CODES = {
    lead: number
    for number, lead in enumerate(
        ("I", "II", "III", "aVR", "aVL", "aVF", *(f"V{i}" for i in range(1, 7))), start=5
    )
}


def ishne(path: Path, values: np.ndarray, leads: Sequence[str] = EIGHT, fs: float = 500) -> None:
    """The fixed header of 522 bytes, and the samples of all leads one after the other."""
    free = (0,) * (12 - len(leads))
    block = struct.pack("<iiiih", 0, values.shape[1], 522, 522, 1)
    block += FIRST.encode().ljust(40, b"\0") + LAST.encode().ljust(40, b"\0")
    block += ID.encode().ljust(20, b"\0")
    block += struct.pack("<hh", 2, 0)
    block += struct.pack("<hhh", BIRTH.day, BIRTH.month, BIRTH.year)
    block += struct.pack("<hhh", RECORDED.day, RECORDED.month, RECORDED.year)
    block += struct.pack("<hhh", RECORDED.day, RECORDED.month, RECORDED.year)
    block += struct.pack("<hhh", RECORDED.hour, RECORDED.minute, 0)
    block += struct.pack("<h", len(leads))
    block += struct.pack("<12h", *(ISHNE_CODES[lead] for lead in leads), *free)
    block += struct.pack("<12h", *(1,) * len(leads), *free)
    block += struct.pack("<12h", *(round(STEP * 1e6),) * len(leads), *free)
    block += struct.pack("<h", 0) + b"digital".ljust(40, b"\0") + struct.pack("<h", round(fs))
    block = block.ljust(512, b"\0")
    check = struct.pack("<H", binascii.crc_hqx(block, 0xFFFF))
    path.write_bytes(b"ISHNE1.0" + check + block + values.T.astype("<i2").tobytes())


WRITERS: dict[str, Callable[..., None]] = {
    "DICOM": dicom,
    "HL7 aECG": hl7_aecg,
    "SCP-ECG": scp_ecg,
    "EDF": edf,
    "GE MUSE XML": ge_muse,
    "Philips XML": philips,
    "MFER": mfer,
    "ISHNE": ishne,
}
