"""Lines of samples: a hostile line costs one line, and nothing of it is shown."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl.monitor.sample_lines import LONGEST_LINE, LineSplitter, SampleLines


def read(text, **options):
    """All samples of a text, and the reader."""
    lines, splitter, parts = SampleLines(**options), LineSplitter(), []
    data = text if isinstance(text, bytes) else text.encode()
    for line in [*splitter.push(data), *splitter.finish()]:
        part = lines.push(line)
        parts += [] if part is None else [part]
    last = lines.finish()
    parts += [] if last is None else [last]
    return (np.concatenate(parts, axis=1) if parts else None), lines


def table(n=300, fs=250.0, header="time,I,II"):
    return "\n".join([header, *(f"{i / fs:.4f},{i % 7},{i}" for i in range(n))]) + "\n"


def test_leads_and_rate_are_those_of_the_header_and_the_times():
    samples, lines = read(table())
    assert (lines.leads, lines.fs, lines.unread) == (("I", "II"), 250.0, 0)
    assert samples[1].tolist() == list(range(300))


@pytest.mark.parametrize(
    ("header", "scale"), [("time [ms],II [uV]", (1000, 1e-3)), ("t,II (V)", (1, 1e3))]
)
def test_units_are_those_of_the_headings(header, scale):
    times, volts = scale
    text = "\n".join([header, *(f"{i / 250 * times:.3f},{i}" for i in range(200))])
    samples, lines = read(text)
    assert lines.fs == 250.0
    np.testing.assert_allclose(samples[0], np.arange(200) * volts, rtol=1e-6)


HOSTILE = (
    b"1.2,\xff\xfe,3",
    b"Jane Doe,1,2",
    b"9" * 50_000,
    b",,,,,,,,,",
    b"1e999,1,2",
    b"nan,1,2",
    b"-5,1,2",
    b"99999999,1,2",
    b"",
)


@pytest.mark.parametrize("bad", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("place", [1, 50, 200])
def test_a_hostile_line_costs_one_line(bad, place):
    good = table().encode().splitlines()
    samples, lines = read(b"\n".join([*good[:place], bad, *good[place:]]))
    assert lines.unread <= 2  # before anything else, its time is doubted and so is the next
    assert 298 <= int(np.isfinite(samples[1]).sum()) <= 301  # a first time of -5 is believed
    assert "Jane" not in lines.first_unread


def test_a_lost_line_is_a_missing_sample():
    rows = table().splitlines()
    samples, _ = read("\n".join(rows[:150] + rows[151:]))
    assert samples.shape == (2, 300)
    assert np.flatnonzero(np.isnan(samples[1])).tolist() == [149]


def test_an_empty_cell_is_a_missing_sample_and_an_infinite_one_is_kept_for_the_monitor():
    samples, lines = read("time,I,II\n" + "".join(f"{i / 250},,1e400\n" for i in range(150)))
    assert lines.unread == 0
    assert np.isnan(samples[0]).all()
    assert np.isinf(samples[1]).all()


def test_a_gap_is_filled_and_a_clock_that_is_set_is_followed():
    rows = table(200).splitlines()
    later = [f"{3600 + i / 250:.4f},1,{i}" for i in range(50)]
    samples, lines = read("\n".join([*rows, *later]))
    assert lines.jumps == 1
    assert lines.unread == 1
    assert samples.shape[1] == 200 + 2500 + 49
    gap = [f"{2 + i / 250:.4f},1,{i}" for i in range(50)]
    assert read("\n".join([*rows, *gap]))[0].shape[1] == 550


def test_columns_without_a_header_can_be_named():
    samples, lines = read("0.1\n0.2\nx\n0.3\n", names=("II",), fs=100.0)
    assert lines.unread == 1
    assert [v if math.isfinite(v) else None for v in samples[0].round(1).tolist()] == [
        pytest.approx(0.1),
        pytest.approx(0.2),
        None,
        pytest.approx(0.3),
    ]


def test_without_a_header_nothing_is_read():
    assert read("1,2,3\n" * 50)[0] is None
    assert "no header" in read("1,2,3\n" * 50)[1].first_unread


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=3000))
def test_any_bytes_are_survived(data):
    read(data)
    read(b"time,II\n" + data)
    read(table(120).encode() + data)


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(1, 9000), max_size=8))
def test_lines_do_not_depend_on_how_bytes_arrive(cuts):
    data = b"a\r\nbc\n" + b"x" * (2 * LONGEST_LINE) + b"\n\nlast"
    whole = LineSplitter()
    expected = [*whole.push(data), *whole.finish()]
    splitter, found, start = LineSplitter(), [], 0
    for cut in [*cuts, len(data)]:
        found += splitter.push(data[start : start + cut])
        start += cut
    assert [*found, *splitter.finish()] == expected == [b"a", b"bc", None, b"", b"last"]
