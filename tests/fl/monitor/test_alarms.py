"""Each alarm is raised by its rule, latches if it should, and is over as it says."""

import pytest

from fl.monitor.alarm_watch import AlarmWatch, Moment
from fl.monitor.alarms import ALARMS, Alarm

TICK = 0.2


def run(beats, seconds, *, fibrillation=(), noise=(), flat=(), watch=None):
    """What happens to the alarms, with the time: [(kind, alarm, s)]. `beats`: [(s, is V)]."""
    watch, beats, last, found = watch or AlarmWatch(), list(beats), 0.0, []

    def inside(parts, now):
        return any(a <= now < b for a, b in parts)

    for tick in range(round(seconds / TICK)):
        now = tick * TICK
        while beats and beats[0][0] <= now:
            last, ventricular = beats.pop(0)
            watch.beat(last, ventricular)
        moment = Moment(
            now=now,
            last_beat=last,
            flat=inside(flat, now),
            fibrillation=inside(fibrillation, now),
            noise="noise" if inside(noise, now) else "",
        )
        found += [(kind, alarm.rule.name, round(now, 1)) for kind, alarm, _ in watch.moment(moment)]
    return found


def regular(rate, start, end, ventricular=False):
    step = 60 / rate
    return [(start + i * step, ventricular) for i in range(int((end - start) / step + 1e-9))]


def of(name, found):
    return [(kind, now) for kind, alarm, now in found if alarm == name]


def test_a_usual_rhythm_raises_nothing():
    assert run(regular(70, 0, 60), 60) == []


def test_asystole_after_four_seconds_latches_until_somebody_acknowledges_it():
    watch = AlarmWatch()
    found = run(regular(60, 0, 11) + regular(60, 16, 40), 40, watch=watch)
    assert of("asystole", found) == [
        ("alarm raised", pytest.approx(14.0, abs=TICK)),
        ("alarm over", pytest.approx(19.0, abs=2 * TICK)),
    ]
    assert watch.alarms["asystole"].raised
    assert [(kind, alarm.rule.name) for kind, alarm, _ in watch.acknowledge("asystole")] == [
        ("alarm cleared", "asystole")
    ]
    assert not watch.alarms["asystole"].raised


def test_a_latched_alarm_is_raised_again_when_its_cause_comes_back():
    beats = regular(60, 0, 11) + regular(60, 16, 31) + regular(60, 40, 50)
    kinds = [kind for kind, _ in of("asystole", run(beats, 50))]
    assert kinds == ["alarm raised", "alarm over", "alarm raised", "alarm over"]


def test_an_alarm_acknowledged_while_its_cause_is_there_clears_by_itself():
    watch = AlarmWatch()
    run(regular(60, 0, 11), 16, watch=watch)
    assert list(watch.acknowledge("")) == []
    found = []
    for now in (17.0, 18.0, 19.0, 20.1, 21.0):
        moment = Moment(now=now, last_beat=now, flat=False, fibrillation=False, noise="")
        found += [(k, a.rule.name) for k, a, _ in watch.moment(moment) if a.rule.name == "asystole"]
    assert found == [("alarm cleared", "asystole")]


def test_a_pause_is_raised_after_three_seconds_and_clears_ten_seconds_after_the_next_beat():
    found = run(regular(60, 0, 11) + regular(60, 13.5, 40), 40)
    assert of("pause", found) == [
        ("alarm raised", pytest.approx(13.2, abs=TICK)),
        ("alarm cleared", pytest.approx(23.6, abs=2 * TICK)),
    ]
    assert of("asystole", found) == []
    assert of("bradycardia", found) == []


def test_a_flat_lead_is_no_pause():
    found = run(regular(60, 0, 11) + regular(60, 13.5, 40), 40, flat=[(11, 13.5)])
    assert of("pause", found) == []


@pytest.mark.parametrize(("count", "raised"), [(4, False), (5, True)])
def test_bradycardia_needs_five_beats(count, raised):
    slow = [(10 + 2.0 * i, False) for i in range(count)]
    found = run(regular(70, 0, 10) + slow + regular(70, 8.86 + 2 * count, 60), 60)
    assert bool(of("bradycardia", found)) == raised


@pytest.mark.parametrize(
    ("rate", "seconds", "raised"), [(150, 5, False), (150, 9, True), (130, 20, False)]
)
def test_tachycardia_needs_seventeen_beats_above_its_limit(rate, seconds, raised):
    beats = regular(70, 0, 10) + regular(rate, 10, 10 + seconds) + regular(70, 10.5 + seconds, 60)
    kinds = [kind for kind, _ in of("tachycardia", run(beats, 60))]
    assert kinds == (["alarm raised", "alarm cleared"] if raised else [])


@pytest.mark.parametrize(
    ("count", "rate", "raised"), [(2, 150, False), (3, 150, True), (3, 90, False), (5, 101, True)]
)
def test_ventricular_tachycardia_is_three_v_in_a_row_at_a_hundred(count, rate, raised):
    v = [(10 + i * 60 / rate, True) for i in range(count)]
    beats = regular(70, 0, 9.5) + v + regular(70, v[-1][0] + 0.8, 40)
    kinds = [kind for kind, _ in of("ventricular tachycardia", run(beats, 40))]
    assert kinds == (["alarm raised", "alarm over"] if raised else [])


def test_a_run_that_is_interrupted_starts_again():
    beats = [(10.0, True), (10.4, True), (10.8, False), (11.2, True), (11.6, True), (12.0, False)]
    assert of("ventricular tachycardia", run(beats, 14)) == []


@pytest.mark.parametrize(("seconds", "raised"), [(29, False), (31, True)])
def test_fibrillation_must_last_for_thirty_seconds(seconds, raised):
    found = run(regular(70, 0, 120), 120, fibrillation=[(10, 10 + seconds)])
    kinds = [kind for kind, _ in of("atrial fibrillation", found)]
    assert kinds == (["alarm raised", "alarm cleared"] if raised else [])


def test_in_noise_only_the_alarms_for_life_are_raised():
    beats = regular(60, 0, 11) + regular(60, 18, 40) + regular(160, 40, 60)
    found = run(beats, 60, noise=[(5, 60)])
    assert {alarm for _, alarm, _ in found} == {"asystole", "cannot monitor"}


def test_limits_can_be_set():
    watch = AlarmWatch.with_limits(bradycardia=60.0, ventricular_tachycardia=160.0)
    assert watch.alarms["bradycardia"].rule.limit == 60.0
    assert of("bradycardia", run(regular(50, 0, 30), 30, watch=watch))


@pytest.mark.parametrize("name", ALARMS)
def test_a_cause_shorter_than_the_minimum_raises_nothing(name):
    rule, alarm = ALARMS[name], Alarm(rule=ALARMS[name])
    if not rule.minimum:
        assert alarm.update(0.0, True) == "alarm raised"
        return
    assert alarm.update(0.0, True) == alarm.update(rule.minimum - 0.1, True) == ""
    assert alarm.update(rule.minimum, False) == alarm.update(rule.minimum + 1, True) == ""
    assert alarm.update(2 * rule.minimum + 1, True) == "alarm raised"


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_is_over_after_its_clearing_time_without_the_cause(name):
    rule, alarm = ALARMS[name], Alarm(rule=ALARMS[name])
    alarm.update(0.0, True)
    alarm.update(rule.minimum, True)
    assert alarm.raised
    then = rule.minimum + 1
    if rule.clears_after:
        assert alarm.update(then, False) == ""
        assert alarm.update(then + rule.clears_after - 0.1, False) == ""
    over = "alarm over" if rule.latching else "alarm cleared"
    assert alarm.update(then + rule.clears_after, False) == over
