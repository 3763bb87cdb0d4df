"""Tables of single heartbeats are known, read line by line, and refused with the line."""

import numpy as np
import pytest
from support.cut_beats import cuts, table
from support.made_ecg import heartbeats

from fl.predict.input_files import read_record
from fl.util.errors import ConfigError, DataError

BEATS = cuts(3)


@pytest.fixture
def read(tmp_path):
    """Reads a table of single beats."""

    def read_table(content, fs=None, unit="", leads=()):
        (tmp_path / "beats.csv").write_bytes(content)
        return read_record(str(tmp_path / "beats.csv"), fs, unit, leads, single_beats=True)

    return read_table


@pytest.mark.parametrize(
    "content",
    [
        table(BEATS),
        table(BEATS, label="2.000000"),
        table(BEATS, separator=";", decimal=","),
        table(BEATS, separator="\t"),
        "\n".join([",".join(map(str, range(187))), table(BEATS).decode()]).encode(),
    ],
    ids=["plain", "with classes", "decimal commas", "tabs", "numbered columns"],
)
def test_lines_of_187_values_are_beats_of_lead_two_at_125_hz(read, content):
    record = read(content)
    assert (record.leads, record.fs, record.unit) == (("II",), 125.0, "NU")
    assert record.signal.shape == (1, 3 * 187)
    assert record.signal.reshape(3, 187) == pytest.approx(BEATS, abs=1e-5)
    beats = record.cut_beats
    assert beats.starts.tolist() == [0, 187, 374]
    assert (beats.ends - beats.starts).tolist() == [120, 120, 120]  # 1.2 of 0.8 s
    assert not beats.missing.any()
    first = 2 if content.startswith(b"0,1,2") else 1
    assert beats.lines == (first, first + 1, first + 2)
    assert "as Kachuee et al. 2018" in record.notes[0]
    assert len(record.notes) == (2 if b"2.000000" in content else 1)


def test_other_lines_need_their_rate_and_their_lead(read):
    millivolts = table(2 * BEATS[:, :160] - 0.5)
    with pytest.raises(ConfigError, match=r"lines of 160 numbers and no sampling rate\. Give --fs"):
        read(millivolts)
    with pytest.raises(ConfigError, match="--leads names none"):
        read(millivolts, 125.0)
    with pytest.raises(ConfigError, match="--leads names 2"):
        read(millivolts, 125.0, "", ("I", "II"))
    with pytest.raises(ConfigError, match="--leads has 'Q7'"):
        read(millivolts, 125.0, "", ("Q7",))
    record = read(millivolts, 125.0, "", ("MLII",))
    assert (record.leads, record.unit, record.notes) == (("II",), "mV", ())
    with pytest.raises(DataError, match=r"its leads span 0\.0\d+ mV if its values are in uV"):
        read(millivolts, 125.0, "uV", ("V1",))
    assert read(table(1000 * BEATS), 125.0, "uV", ("V1",)).signal.max() == pytest.approx(
        BEATS.max(), rel=1e-5
    )


def test_a_missing_sample_is_known_and_a_cell_that_is_none_is_named(read):
    lines = table(BEATS).decode().splitlines()
    lines[1] = lines[1].replace("0.0", "", 1)
    with pytest.raises(DataError, match="line 2"):
        read("\n".join([lines[0], "Quixwind," + lines[1]]).encode())
    cells = table(BEATS).decode().splitlines()
    cells[1] = ",".join(["", *cells[1].split(",")[1:]])
    record = read("\n".join(cells).encode())
    assert record.cut_beats.missing.tolist() == [False, True, False]
    assert np.isfinite(record.signal).all()
    short = lines[0].rsplit(",", 1)[0]
    with pytest.raises(DataError, match="line 2 has 186 values, but the first line has 187"):
        read("\n".join([lines[0], short]).encode())


def test_a_line_that_is_longer_than_a_beat_is_a_recording(read):
    lead = heartbeats(75, 12.0, 125.0)[0]
    line = ",".join(f"{v:.4f}" for v in lead)
    record = read(line.encode(), 125.0, "", ("II",))
    assert record.cut_beats is None
    assert record.signal.shape == (1, len(lead))


def test_a_column_that_lasts_no_longer_than_a_beat_is_one(read):
    column = "I;II\n" + "\n".join(f"{v:.4f};{2 * v - 0.5:.4f}" for v in BEATS[0])
    record = read(column.encode(), 125.0)
    assert (record.leads, record.unit) == (("I", "II"), "mV")
    assert (record.cut_beats.starts.tolist(), record.cut_beats.lines) == ([0], ())
