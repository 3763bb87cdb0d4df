"""A CSV file is read as any spreadsheet writes it, or refused with the line that is wrong."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl.util.csv_table import LATIN_1, read_csv_table, read_ragged_csv
from fl.util.errors import DataError


def saved(tmp_path, content):
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,é\n",
        b"\xef\xbb\xbfa,b\r\n1,\xc3\xa9\r\n",
        b"a,b\n1,\xe9\n",  # Latin-1
        "a;b\r\n1;é\r\n",
        "a\tb\r1\té",
        "sep=;\r\na;b\r\n1;é\r\n",
        '"a", b\n\n 1 , "é"\n,\n',
        "a,b,\n1,é,\n",
    ],
)
def test_encodings_line_ends_and_separators_are_read(tmp_path, content):
    table = read_csv_table(saved(tmp_path, content))
    assert [row for _, row in table.records()] == [{"a": "1", "b": "é"}]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            "a,b\n1,2\n1,2,3\n1\n",
            "line 3 has 3 cells, but the heading has 2 columns; also wrong",
        ),
        ("a,b\n1\n", "line 2 has 1 cells"),
        ("a,b\n1,2,\n", "line 2 has 3 cells"),
        ('a,b\n"1\n2",3\n4\n', "line 4 has 1 cells"),
        ("a,b,a\n1,2,3\n", "has the column 'a' twice"),
        ("a,b,\n1,2,x\n", "line 2 has a cell under a heading without a name"),
        ('a,b\n1,2\n"1,2\n3,4\n', r"line 3: .*Close every quotation mark"),
        (b"PK\x03\x04\0\0", "it is an Excel or zip file"),
        (b"\xff\xfea\0", "it is UTF-16 text"),
        (b"a,b\n\0\0,1\n", "it is a binary file"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, content, problem):
    with pytest.raises(DataError, match=problem) as refused:
        read_csv_table(saved(tmp_path, content))
    assert str(refused.value).startswith(str(tmp_path / "table.csv"))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_ragged_csv(tmp_path / "gone.csv")


CELL = st.text(st.sampled_from("aé1 ,;|\t\"'\n"), max_size=6).map(str.strip)


@given(
    rows=st.lists(st.lists(CELL, min_size=2, max_size=4), max_size=6),
    separator=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "latin-1"]),
)
def test_a_table_is_read_as_it_was_or_the_line_is_named(
    tmp_path_factory, rows, separator, end, encoding
):
    text = io.StringIO(newline="")
    # With \r the writer would not quote a cell with \n in it.
    quoting = csv.QUOTE_ALL if end == "\r" else csv.QUOTE_MINIMAL
    writer = csv.writer(text, delimiter=separator, lineterminator=end, quoting=quoting)
    writer.writerows([["x", "y", "z"], *rows])
    path = tmp_path_factory.mktemp("table") / "t.csv"
    path.write_bytes(text.getvalue().encode(encoding))
    filled = [row for row in rows if any(row)]
    if any(len(row) != 3 for row in filled):
        with pytest.raises(DataError, match=r"line \d+ has \d cells"):
            read_csv_table(path)
    else:
        table = read_csv_table(path)
        assert [list(cells) for _, cells in table.rows] == filled
        assert table.encoding != LATIN_1 or encoding == "latin-1"
