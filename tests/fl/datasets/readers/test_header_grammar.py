"""Headers built from a grammar of oddities: the right millivolts or a verdict, nothing else."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.small_records import waves

from fl.datasets.readers.wfdb_signals import read_waveform
from fl.util.errors import UnusableRecord

FS = 500
TRUE = waves(2, 3000)  # (sample, lead) mV
STORED = np.round(TRUE * 2000).astype("<i2")  # at 2000 units per mV


@dataclass(frozen=True)
class Part:
    """A part of a header: its bytes, and whether it must be read or must be refused."""

    text: bytes
    good: bool = True


def good(*texts):
    return [Part(text.encode()) for text in texts]


def bad(*texts):
    return [Part(text.encode(), good=False) for text in texts]


RATES = good("500", "500.0", "5e2", "500/500", "500/100(0)", "+500.") + bad(
    "500,0", "500Hz", "0", "-500", "x", "5OO", "nan", "500/", "500(0)", "1e9"
)
LENGTHS = good("3000", "0", "") + bad("3001", "3,000", "-3000", "3000.0", "x", "99999999999999999")
DATES = good(
    "", "12:30:00", "12:30:00 25/04/1989", "12:30:00 2006", "12:30:00 25/04/1989 \t ", "1:2"
)
FORMATS = good("16", "16+0", "16x1", "16:0", "16x1:0+0") + bad(
    "x", "16x2", "16:3", "99", "16+", "-16"
)
GAINS = [
    *good("2000", "2000/mV", "2000.0(0)/mV", "2e3(0)/mv", "2(0)/uV", "2/uV", "2e6/V", ".002/nV"),
    *good("2000(0.0)/mV", "+2000/millivolts"),
    *(
        Part(b"2(0)/" + micro + b"V")
        for micro in (b"\xb5", b"\xc2\xb5", b"\xce\xbc", b"\xe6", b"\x83\xca")
    ),
    *bad(
        "2000/mmHg", "2000/MV", "2000/\ufffdV", "2000,0/mV", "2000mV", "2000(0/mV", "2000/", "(/mV"
    ),
    *bad("2000(1,5)/mV", "2000//mV", "2000/mV)", "0x7d0/mV", "2.000.0/mV"),
    # A thousand times too large or too small: no heart gives that.
    *bad("2000/V", "2/mV", "2000/uV", "2000/nV"),
]
FIRST = {lead: int(STORED[0, i]) for i, lead in enumerate(("I", "II"))}
SUMS = {lead: int(STORED[:, i].astype(int).sum() % 65536) for i, lead in enumerate(("I", "II"))}
TAILS = good("16 0 {first} {sum} 0", "16 0 0 0 0", "16 0", "") + bad(
    "16 0 {first} 12345 0", "16 0 {wrong} {sum} 0"
)
NAMES = good("I;II", "DI;DII", "Lead I;lead_ii", "MDC_ECG_LEAD_I;MDC_ECG_LEAD_II", "  I;MLII \t")
NAMES += bad("I;I", "x;y", "I-II;-aVR", ";")
PARTS = (RATES, LENGTHS, DATES, FORMATS, GAINS, TAILS, NAMES)
ENDS = [b"\n", b"\r\n", b"\r", b"\n\n"]
COMMENTS = [b"", b"# Name: J\xf6rg Doe", "# Größe".encode(), b"#\xff\xfe\x00", b"# Dx: 1"]


@st.composite
def headers(draw):
    """The bytes of a header, and whether it must be read: at most one of its parts is bad."""
    wrong = draw(st.integers(-len(PARTS), len(PARTS) - 1))  # below 0: none
    rate, length, date, form, gain, tail, names = (
        draw(st.sampled_from([p for p in parts if p.good or i == wrong]))
        for i, parts in enumerate(PARTS)
    )
    blank, end = draw(st.sampled_from([b" ", b"\t", b"  "])), draw(st.sampled_from(ENDS))
    suffix = draw(st.sampled_from([b".dat", b".DAT"]))
    first = blank.join(p for p in (b"r", b"2", rate.text, length.text, date.text) if p)
    lines = [draw(st.sampled_from(COMMENTS)), first]
    for lead, name in zip(("I", "II"), names.text.split(b";"), strict=True):
        value, total = FIRST[lead], SUMS[lead]
        numbers = tail.text.decode().format(first=value, wrong=value + 1, sum=total).encode()
        fields = (b"r" + suffix, form.text, gain.text, numbers, name)
        lines.append(blank.join(field for field in fields if field))
    lines.append(draw(st.sampled_from(COMMENTS)))
    readable = all(part.good for part in (rate, length, date, form, gain, tail, names))
    return end.join(lines) + draw(st.sampled_from([b"", end])), readable


def outcome(tmp_path_factory, header):
    """What a header and the stored samples give: a waveform, or the verdict."""
    folder = tmp_path_factory.mktemp("r")
    (folder / "r.dat").write_bytes(STORED.tobytes())
    (folder / "r.hea").write_bytes(header)
    try:
        return read_waveform(folder / "r", name="r", rates=(), unit="mV")
    except UnusableRecord as verdict:
        return verdict


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=headers())
def test_a_header_gives_the_right_millivolts_or_a_verdict(tmp_path_factory, drawn):
    header, readable = drawn
    found = outcome(tmp_path_factory, header)
    if not readable:
        assert isinstance(found, UnusableRecord)
        assert found.reason in ("bad-header", "truncated", "checksum", "lead-names", "amplitude")
        assert found.detail
        assert "Doe" not in str(found)
        return
    assert not isinstance(found, UnusableRecord), found
    assert (found.leads, found.fs) == (("I", "II"), FS)
    np.testing.assert_allclose(found.signal, TRUE.T, atol=3e-4)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(field=st.text(alphabet="0123456789.,()/-+eEmMuUnNvVµ ", max_size=12))
def test_any_gain_gives_what_it_says_or_a_verdict(tmp_path_factory, field):
    header = f"r 2 500 3000\nr.dat 16 {field} I\nr.dat 16 2000/mV II\n"
    found = outcome(tmp_path_factory, header.encode())
    if isinstance(found, UnusableRecord) or found.leads != ("I", "II"):
        return  # a verdict, or the lead is masked because no heart gives this amplitude
    ratio = np.ptp(found.signal[0]) / np.ptp(STORED[:, 0])
    assert ratio == pytest.approx(1 / 200, rel=1e-3) or _stated(field, ratio)


def _stated(field, ratio):
    """Whether a field that begins with a gain states this ratio of mV to stored numbers."""
    number = field.split()[0].partition("/")[0].partition("(")[0]
    unit = field.split()[0].partition("/")[2] or "mV"
    per = {"mv": 1.0, "uv": 1e-3, "µv": 1e-3, "nv": 1e-6, "v": 1e3}
    return ratio == pytest.approx(per[unit.lower()] / abs(float(number)), rel=1e-3)
