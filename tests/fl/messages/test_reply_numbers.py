"""A number of a reply is what it must be, or the reply is refused."""

import pytest

from fl.messages.reply_numbers import MOST_COUNTED, count_in, counts_in, number_in


@pytest.mark.parametrize("value", [0, 7, MOST_COUNTED])
def test_whole_numbers_are_counts(value):
    assert count_in({"n": value}, "n") == value
    assert counts_in({"n": [value, 0]}, "n") == (value, 0)
    assert number_in({"n": value}, "n") == float(value)


@pytest.mark.parametrize("value", [-1, MOST_COUNTED + 1, 1.0, float("inf"), True, "7", None, [7]])
def test_anything_else_is_no_count(value):
    with pytest.raises(ValueError, match=r"n is .*not a whole number"):
        count_in({"n": value}, "n")
    with pytest.raises(ValueError, match="n is "):
        counts_in({"n": [1, value]}, "n")


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), True, "1.0", None, [1.0]])
def test_what_is_not_finite_is_no_number(value):
    with pytest.raises(ValueError, match=r"n is .*not a finite number"):
        number_in({"n": value}, "n")
    with pytest.raises(ValueError, match="not a list"):
        counts_in({"n": value if not isinstance(value, list) else 3}, "n")
