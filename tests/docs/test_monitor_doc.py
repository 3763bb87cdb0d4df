"""docs/monitor.md prints the alarms as the code has them."""

from pathlib import Path

from fl.ecg.beat_features import FEATURES
from fl.monitor.alarms import ALARMS
from fl.monitor.fibrillation import BEGINS, ENDS, SMOOTHING
from fl.monitor.sample_lines import LONGEST_LINE

DOC = Path(__file__).parents[2] / "docs" / "monitor.md"


def row(rule):
    """One line of the table."""
    cells = (
        *(rule.name, rule.priority, rule.sentence.format(limit=rule.limit)),
        *(f"{rule.minimum:g} s", f"{rule.clears_after:g} s"),
        *("yes" if rule.latching else "no", "yes" if rule.in_noise else "no", rule.source),
    )
    return f"| {' | '.join(cells)} |"


def test_the_table_of_alarms_is_that_of_the_code():
    table = DOC.read_text().split("<!-- alarms -->")[1].split("<!-- /alarms -->")[0]
    assert table.strip().splitlines()[2:] == [row(rule) for rule in ALARMS.values()]


def test_the_numbers_are_those_of_the_code():
    text = DOC.read_text()
    for words in (
        f"{len(FEATURES)} features",
        f"{SMOOTHING:g}, {BEGINS} and {ENDS:g}",
        f"{LONGEST_LINE:,} bytes",
    ):
        assert words in text
