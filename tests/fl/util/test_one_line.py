"""Text from outside cannot move a cursor, write a line of its own, or fill a log."""

from hypothesis import given
from hypothesis import strategies as st

from fl.util.one_line import MOST_CHARACTERS, one_line


@given(st.text())
def test_any_text_becomes_one_short_printable_line(text):
    found = one_line(text)
    assert found.isprintable()
    assert len(found) <= MOST_CHARACTERS


def test_a_plain_text_stays_as_it_is_and_a_long_one_says_that_it_was_cut():
    assert one_line("train: disk on fire (Überlauf)") == "train: disk on fire (Überlauf)"
    assert one_line("a\x1b[2J\nb\u202e") == "a [2J b "
    assert one_line("x" * 301) == "x" * 297 + "..."
    assert one_line("x" * 300) == "x" * 300
