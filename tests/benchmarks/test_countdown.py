"""A study prints how many of its parts are made, and about how long the others take."""

from benchmarks.common.countdown import Countdown
from benchmarks.common.results_store import StoredResults


def test_the_time_left_is_that_of_the_mean_part(capsys):
    now = [0.0]
    countdown = Countdown(4, lambda: now[0])
    for seconds in (60.0, 180.0, 60.0, 60.0):
        now[0] += seconds
        countdown.done("part")
    assert capsys.readouterr().out.splitlines() == [
        "part (1 of 4, about 3 min left)",
        "part (2 of 4, about 4 min left)",
        "part (3 of 4, about 2 min left)",
        "part (4 of 4)",
    ]


def test_results_that_are_stored_are_not_awaited(tmp_path, capsys):
    path = tmp_path / "r.json"
    StoredResults(path, {"settings": 1}).get_or_make("a", lambda: 1)
    stored = StoredResults(path, {"settings": 1})
    stored.expect(["a", "b", "c"])
    for name in "abc":
        stored.get_or_make(name, lambda: 1)
    assert capsys.readouterr().out.splitlines() == [
        "a: 0 s",
        "b: 0 s (1 of 2, about 0 s left)",
        "c: 0 s (2 of 2)",
    ]
