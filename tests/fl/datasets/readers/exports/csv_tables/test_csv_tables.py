"""Tables of samples, as spreadsheets and programs write them: read rightly, or a named error."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fl.datasets.readers.exports.csv_tables.csv_recording import read_csv
from fl.datasets.readers.exports.csv_tables.headings import parse_heading
from fl.util.errors import ConfigError, DataError

FS, SECONDS = 100.0, 13  # at 250 Hz more than the 5 s that are needed
COUNT = int(FS * SECONDS)
T = np.arange(COUNT) / FS
WAVES = {  # mV, four digits
    lead: np.round(np.sin(2 * np.pi * T * (place + 1)) + place / 10, 4)
    for place, lead in enumerate(("I", "II", "V1"))
}


def table(
    leads=("I", "II"),
    *,
    separator=",",
    point=".",
    headings=None,
    unit=1.0,
    time=None,
    quoted=False,
    end="\n",
    trailing=False,
):
    """The text of a table; `time` is a heading and a function from sample number to text."""
    columns = [[f"{value / unit:.7f}" for value in WAVES[lead]] for lead in leads]
    header = list(headings if headings is not None else leads)
    if time is not None:
        columns.insert(0, [time[1](place) for place in range(COUNT)])
        header.insert(0, time[0])
    rows = [list(row) for row in zip(*columns, strict=True)]
    cells = [[cell.replace(".", point) for cell in row] for row in rows]
    if quoted:
        cells = [[f'"{cell}"' for cell in row] for row in cells]
    last = separator if trailing else ""
    lines = [header, *cells] if headings != () else cells
    return end.join(separator.join(line) + last for line in lines) + end


def read(tmp_path, text, fs=FS, unit="", leads=(), encoding="utf-8", **_):
    path = tmp_path / "x.csv"
    path.write_bytes(text.encode(encoding))
    return read_csv(path, fs, unit, leads)


def assert_right(recording, leads=("I", "II"), fs=FS):
    assert recording.fs == pytest.approx(fs)
    assert set(recording.signals) == set(leads)
    for lead in leads:
        assert recording.signals[lead] == pytest.approx(WAVES[lead], abs=1e-6)


def seconds(place):
    return f"{place / FS:.3f}"


def milliseconds(place):
    return f"{1000 * place / FS:.0f}"


READ = {
    "plain": {},
    "semicolons": {"separator": ";"},
    "semicolons, decimal comma": {"separator": ";", "point": ","},
    "tabs": {"separator": "\t"},
    "tabs, decimal comma": {"separator": "\t", "point": ","},
    "quoted decimal comma": {"point": ",", "quoted": True},
    "units in brackets": {"headings": ("I [mV]", "II (mV)")},
    "micro sign": {"headings": ("I [\u00b5V]", "II (\u03bcV)"), "unit": 1e-3},
    "latin-1": {"headings": ("I/\u00b5V", "II/\u00b5V"), "unit": 1e-3, "encoding": "latin-1"},
    "volts in the heading": {"headings": ("I_V", "II V"), "unit": 1e3},
    "volts by --unit": {"unit_flag": "V", "unit": 1e3},
    "microvolts by --unit": {"unit_flag": "uV", "unit": 1e-3},
    "BOM": {"encoding": "utf-8-sig"},
    "UTF-16": {"encoding": "utf-16"},
    "old Mac lines": {"end": "\r"},
    "Windows lines": {"end": "\r\n"},
    "separators at the ends": {"separator": ";", "trailing": True},
    "single quotes": {"headings": ("'I'", "'II'")},
    "time in s": {"time": ("time [s]", seconds), "fs": None},
    "time in ms": {"time": ("time_ms", milliseconds), "fs": None},
    "time of an unnamed unit, s": {"time": ("time", seconds), "fs": None},
    "time of an unnamed unit, ms": {"time": ("t", milliseconds), "fs": None},
    "German time": {
        "time": ("Zeit [s]", lambda place: seconds(place).replace(".", ",")),
        "fs": None,
        "separator": ";",
        "point": ",",
    },
    "time that agrees with --fs": {"time": ("seconds", seconds)},
    "sample number": {"time": ("sample", str)},
    "a spreadsheet's first column": {"time": ("", str)},
    "sample number called time, with --fs": {"time": ("time", str)},
    "no header": {"headings": (), "lead_flag": ("I", "II")},
    "no header, time first": {
        "headings": (),
        "lead_flag": ("I", "II"),
        "time": ("", seconds),
        "fs": None,
    },
    "one column": {"leads": ("II",)},
    "one column, decimal comma": {"leads": ("II",), "point": ","},
}


@pytest.mark.parametrize("name", READ)
def test_a_table_is_read_as_it_is_meant(tmp_path, name):
    how = dict(READ[name])
    reading = {k: how.pop(k) for k in ("fs", "encoding") if k in how}
    reading |= {k[:-5]: how.pop(k) for k in ("unit_flag",) if k in how}
    given_leads = how.pop("lead_flag", ())
    recording = read(tmp_path, table(**how), leads=given_leads, **reading)
    assert_right(recording, how.get("leads", ("I", "II")))


def test_a_line_of_units_below_the_header_is_read(tmp_path):
    # As PhysioNet's rdsamp prints it.
    text = table(time=("'Elapsed time'", seconds), headings=("'I'", "'II'"), unit=1e-3)
    header, rest = text.split("\n", 1)
    recording = read(tmp_path, f"{header}\n'seconds','uV','uV'\n{rest}", fs=None)
    assert_right(recording)


def test_comments_before_the_header_and_empty_lines_at_the_end_are_passed_over(tmp_path):
    assert_right(read(tmp_path, f"# made by a program\n\n{table()}\n\n"))


def test_missing_samples_are_missing(tmp_path):
    lines = table(separator=";").split("\n")
    for place, cell in ((5, ""), (6, "NaN"), (7, "n/a")):
        lines[place] = f"{cell};{lines[place].partition(';')[2]}"
    recording = read(tmp_path, "\n".join(lines))
    assert np.flatnonzero(np.isnan(recording.signals["I"])).tolist() == [4, 5, 6]
    assert not np.isnan(recording.signals["II"]).any()


def test_a_rate_is_found_from_rounded_times(tmp_path):
    text = table(time=("time [s]", lambda place: f"{place / 128:.3f}"))
    assert read(tmp_path, text, fs=None).fs == 128.0


def line(number, new):
    def change(text):
        lines = text.split("\n")
        lines[number - 1] = new
        return "\n".join(lines)

    return change


TIMED = table(time=("time [s]", seconds))
REFUSED = {
    "no rate": (table(), {"fs": None}, "Give --fs"),
    "another rate": (TIMED, {"fs": 250.0}, "'time [s]' says 100 Hz, but --fs is 250"),
    "a gap": (
        TIMED.replace("\n1.000,", "\n1.500,"),
        {},
        "line 102: the column 'time [s]' goes from 0.99 to 1.5; steps of 0.01 are usual",
    ),
    "a sample left out": (line(200, "")(TIMED), {}, "line 200 is empty between samples"),
    "a sample twice": (line(4, "0.010,1,1")(TIMED), {}, "line 4: the column 'time [s]' goes from"),
    "a clock": (line(3, "0:00:01,1,1")(TIMED), {}, "line 3 is not all numbers: '0:00:01' in the"),
    "steps of one": (table(time=("time", str)), {"fs": None}, "Name its unit"),
    "sample number with a gap": (
        table(time=("sample", lambda place: str(place + (place > 9)))),
        {},
        "line 12: the column 'sample' goes from 9 to 11",
    ),
    "no header": (table(headings=()), {}, "name them: --leads I,II,V1"),
    "no header, other leads": (table(headings=()), {"leads": ("I", "X9")}, "--leads has 'X9'"),
    "no header, few leads": (table(headings=()), {"leads": ("V1",) * 4}, "--leads names 4"),
    "decimal and column commas": (table(point=","), {}, "separate the columns by ; or tabs"),
    "points and commas": (
        line(9, "1.5;2,5")(table(separator=";", point=",")),
        {},
        "line 2 has a comma in a number and line 9 a point",
    ),
    "infinite": (line(5, "inf,1")(table()), {}, "line 5 is not all numbers: 'inf' in the column"),
    "too large": (line(5, "1e999,1")(table()), {}, "line 5 is not all numbers: '1e999'"),
    "underscores": (line(5, "1_0,1")(table()), {}, "line 5 is not all numbers: '1_0'"),
    "unknown unit": (table(headings=("I [mmHg]", "II")), {}, "has the unit 'mmhg'. Accepted: mV"),
    "two units": (
        table(headings=("I [uV]", "II [uV]"), unit=1e-3),
        {"unit": "mV"},
        "has the unit uv, but --unit is mV",
    ),
    "wrong unit": (table(unit=1e-3), {}, "Give the unit: --unit"),
    "unknown lead": (table(headings=("I", "pulse")), {}, "'pulse'; known: I, II"),
    "one beat": (
        "\n".join(table().split("\n")[:82]),
        {},
        "0.8 s; at least 5 s. Give the recording around it",
    ),
    "zeros": ("I,II\n1,\0\n", {}, "is not text"),
    "nothing": ("", {}, "has no samples"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_table_that_may_be_misread_is_refused_in_one_line(tmp_path, name):
    text, how, message = REFUSED[name]
    with pytest.raises((DataError, ConfigError)) as refused:
        read(tmp_path, text, **how)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "x.csv" in str(refused.value) or "--leads" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "lead", "unit"),
    [
        ("I", "I", ""),
        ("I [mV]", "I", "mv"),
        ("II (\u00b5V)", "II", "\u00b5v"),
        ("V1/mV", "V1", "mv"),
        ("avf_uV", "aVF", "uv"),
        ("MLII mV", "II", "mv"),
        ("V5", "V5", ""),
        ("V", None, ""),
        ("pulse", None, ""),
    ],
)
def test_headings_name_a_lead_and_a_unit(text, lead, unit):
    heading = parse_heading(text)
    assert (heading.lead, heading.unit) == (lead, unit)


TIMES = {
    "time [s]": seconds,
    "time_ms": milliseconds,
    "t": seconds,
    "index": str,
    "": str,
    "time": str,
}


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    separator=st.sampled_from([",", ";", "\t"]),
    point=st.sampled_from([".", ","]),
    quoted=st.booleans(),
    trailing=st.booleans(),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "latin-1", "utf-16"]),
    header=st.booleans(),
    flag=st.booleans(),
    form=st.sampled_from(["{}", "{} [{}]", "{} ({})", "{}/{}", "{}_{}", "'{}'"]),
    unit=st.sampled_from(["mV", "uV", "\u00b5V", "V", "parsec"]),
    unit_flag=st.sampled_from(["", "mV", "uV", "V"]),
    time=st.sampled_from([None, *TIMES]),
    fs=st.sampled_from([None, FS, 250.0]),
    leads=st.sampled_from([("I",), ("II", "I"), ("I", "II", "V1")]),
)
def test_any_table_is_read_rightly_or_refused(
    tmp_path, separator, point, quoted, trailing, end, encoding, header, flag, form, unit, **how
):
    scale = {"mV": 1.0, "V": 1e3, "parsec": 1.0}.get(unit, 1e-3)
    named = form.count("{}") == 2
    leads, time, fs, unit_flag = how["leads"], how["time"], how["fs"], how["unit_flag"]
    text = table(
        leads,
        separator=separator,
        point=point,
        headings=[form.format(lead, unit) for lead in leads] if header else (),
        unit=scale,
        time=None if time is None else (time, TIMES[time]),
        quoted=quoted,
        trailing=trailing,
        end=end,
    )
    stated = unit if header and named else unit_flag or "mV"
    meant = {"mV": 1.0, "uV": 1e-3, "\u00b5V": 1e-3, "V": 1e3}.get(stated)
    timed = time in ("time [s]", "time_ms", "t") and (header or time != "")
    flags = leads if flag else ()
    try:
        recording = read(tmp_path, text, fs=fs, unit=unit_flag, leads=flags, encoding=encoding)
    except (DataError, ConfigError) as error:
        refused = str(error)
    else:
        refused = ""
        assert meant == scale, "the values are in the unit that is stated"
        assert_right(recording, leads, FS if timed else fs)
    assert "\n" not in refused
    commas = point == "," and separator == "," and not quoted and (len(leads) > 1 or time)
    sure = header and not commas and meant == scale and (not named or unit_flag in ("", unit))
    if sure and (timed or fs) and not (timed and fs == 250.0):
        assert not refused or (trailing and len(leads) == 1), refused


def test_excels_own_first_line_is_no_header(tmp_path):
    assert_right(read(tmp_path, "sep=;\n" + table(separator=";", point=",")))


def test_sample_numbers_may_be_headed_as_the_tools_of_physionet_do(tmp_path):
    assert_right(read(tmp_path, table(headings=("I", "II"), time=("'sample #'", str))))


SECRET = "Maria Secret"


@pytest.mark.parametrize(
    "above",
    [
        f"Patient: {SECRET}",
        f"Name,{SECRET}\nID,99887766\n\n",
        f"Name\n{SECRET}",
        f"{SECRET};02.01.1933",
    ],
)
def test_lines_about_the_patient_above_the_header_are_named_and_not_shown(tmp_path, above):
    with pytest.raises(DataError, match="line 1 is text without the name of a lead") as refused:
        read(tmp_path, f"{above}\n{table()}")
    assert not any(word in str(refused.value) for word in ("Maria", "998", "1933"))


@pytest.mark.parametrize("cell", [SECRET, "02.01.1933", "1933-01-02", "2/1/1933", "Maria"])
def test_a_cell_that_may_name_the_patient_is_not_shown(tmp_path, cell):
    text = table(separator=";", headings=("I", "II")).replace("\n", f"\n{cell};1\n", 1)
    with pytest.raises(DataError, match="line 2 is not all numbers: a text in the column 'I'") as e:
        read(tmp_path, text)
    assert cell not in str(e.value)


def test_the_heading_of_a_column_of_names_is_not_shown(tmp_path):
    text = table(separator=";", headings=("I", "Secret")).replace("\n", "\n1;Maria\n", 1)
    with pytest.raises(DataError, match="line 2 is not all numbers: a text") as refused:
        read(tmp_path, text)
    assert "Secret" not in str(refused.value)
    assert "Maria" not in str(refused.value)


@pytest.mark.parametrize("cell", ["inf", "1_000", "00:00:01.5", "1.5mV"])
def test_a_mistyped_number_is_shown(tmp_path, cell):
    text = table(separator=";").replace("\n", f"\n{cell};1\n", 1)
    with pytest.raises(DataError, match=f"line 2 is not all numbers: '{cell}'"):
        read(tmp_path, text)
