"""Numbers as all tables write them."""

from fl.evaluation.group_evaluation import Estimate


def number(value: float | None) -> str:
    """Three decimals without the leading zero, or n/a."""
    if value is None:
        return "n/a"
    text = f"{value:.3f}"
    return text[1:] if text.startswith("0.") else text


def decimal(value: float | None) -> str:
    """Two decimals with a sign only if negative, or n/a: for slopes and skills, which may be any.

    A number that rounds to zero has no sign.
    """
    if value is None:
        return "n/a"
    text = f"{value:.2f}"
    return text.removeprefix("-") if float(text) == 0 else text


def estimate(value: Estimate | None) -> str:
    """`.812 [.774, .846]`"""
    if value is None or value.value is None:
        return "n/a"
    if value.low is None:
        return number(value.value)
    return f"{number(value.value)} [{number(value.low)}, {number(value.high)}]"


def duration(seconds: float) -> str:
    """`40 s`, `3 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def time_left_text(seconds: float | None, at_most: bool = False) -> str:
    """`about 12 min left`; with early stopping that is the longest it may be. "" if not known."""
    if seconds is None:
        return ""
    return f"{'at most' if at_most else 'about'} {duration(seconds)} left"
