"""How long a run will still take, from its rounds so far."""

import math

import pytest
from support.history_rows import round_row

from fl.runs.remaining_time import Plan, Remaining, time_left


def plan(**changed):
    given = {"strategy": "fedavg", "rounds": 10, "workers": 2, "engine": "ray"}
    return Plan.of(given | changed, sites=4, cores=8)


def rows(strategy, numbers, seconds, participants=4):
    return [
        round_row(strategy=strategy, round=n, seconds=seconds, participants=participants)
        for n in numbers
    ]


def test_nothing_is_known_before_the_first_round():
    assert time_left(plan(), []) is None
    assert time_left(plan(), rows("fedavg", [1], math.nan)) is None


def test_rounds_to_come_take_as_long_as_the_last_ones():
    slow_then_fast = rows("fedavg", [1], 100.0) + rows("fedavg", range(2, 7), 3.0)
    left = time_left(plan(), slow_then_fast)
    assert (left.seconds, left.of_whole) == (4 * 3.0, 10 * 3.0)
    assert time_left(plan(), rows("fedavg", range(1, 11), 3.0)).seconds == 0


def test_a_strategy_that_takes_another_ones_rounds_costs_nothing():
    several = plan(compare="fedavg,personal,fedprox")
    assert several.strategies == ("fedavg", "fedprox")
    done = rows("fedavg", range(1, 11), 3.0) + rows("personal", range(1, 11), 3.0)
    baselines = rows("local", range(1, 11), 8.0) + rows("pooled", range(1, 11), 8.0)
    assert time_left(several, [*baselines, *done]).seconds == 30.0


def test_in_a_comparison_local_and_pooled_training_share_the_workers():
    # 4 sites at 2 s each a round by themselves; pooled training takes 6 s a round.
    so_far = rows("local", range(1, 6), 8.0) + rows("pooled", [1, 2], 6.0)
    left = time_left(plan(compare="fedavg"), so_far)
    alone, pooled, federated = 20 * 2.0, 8 * 6.0, 10 * 2.0 * 4 / 2
    # Pooled training cannot be divided: it is what the workers wait for.
    assert left.seconds == pytest.approx(max((alone + pooled) / 2, pooled) + federated)


def test_training_that_stopped_early_is_over_once_a_later_one_has_begun():
    several = plan(compare="fedavg,fedprox", patience=2)
    assert several.may_stop_early
    so_far = rows("local", [1], 8.0) + rows("pooled", [1], 6.0)
    so_far += rows("fedavg", range(1, 4), 2.0) + rows("fedprox", [1], 4.0)
    assert time_left(several, so_far).seconds == 9 * 4.0
    assert time_left(several, so_far, finished=("fedprox",)).seconds == 0


@pytest.mark.parametrize("rounds", [0, -1, "many", None, 10**12, 2.5])
def test_settings_without_a_number_of_rounds_are_refused(rounds):
    with pytest.raises(ValueError, match="no rounds"):
        plan(rounds=rounds)


def test_parts_that_have_not_begun_take_as_long_as_this_one():
    remaining = Remaining(plan=plan(), rows=[], parts_to_come=2)
    assert remaining.seconds is None
    remaining.add(round_row(seconds=3.0))
    assert remaining.seconds == 9 * 3.0 + 2 * 30.0
