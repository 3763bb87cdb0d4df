"""The synthetic signal raises the alarms that its course contains."""

import numpy as np
import pytest

from fl.monitor.demonstration import beat_times, demonstration
from fl.monitor.stream import LATEST, Monitor


@pytest.fixture(scope="module")
def events():
    record = demonstration()
    monitor = Monitor(record.leads, record.fs)
    return [*monitor.push(record.signal), *monitor.finish()]


def alarms(events, name):
    return [(e.kind, e.time) for e in events if e.facts.get("alarm") == name]


def test_every_beat_after_the_first_seconds_is_found_where_it_is(events):
    found = np.array([e.time for e in events if e.kind == "beat"])
    true = [beat for beat, _ in beat_times() if 3.5 < beat < 81 or beat > 92]
    nearest = [np.abs(found - beat).min() for beat in true]
    assert max(nearest) < 0.03


def test_every_beat_is_answered_in_time(events):
    late = [e.known / e.fs - e.time for e in events if e.kind == "beat"]
    assert 0.5 < max(late) <= LATEST


def test_a_pause_becomes_asystole_and_asystole_waits_for_somebody(events):
    (raised, at), *_ = alarms(events, "pause")
    assert raised == "alarm raised"
    assert 22.5 < at < 24
    kinds = alarms(events, "asystole")
    assert [kind for kind, _ in kinds][:2] == ["alarm raised", "alarm over"]
    assert 23.5 < kinds[0][1] < 25
    assert 25 < kinds[1][1] < 30


def test_a_fast_run_without_classes_is_no_ventricular_tachycardia(events):
    assert not alarms(events, "ventricular tachycardia")


def test_tachycardia_is_raised_and_cleared(events):
    assert [kind for kind, _ in alarms(events, "tachycardia")] == ["alarm raised", "alarm cleared"]


def test_a_loose_electrode_is_named(events):
    raised = [e for e in events if e.facts.get("alarm") == "asystole" and e.kind == "alarm raised"]
    assert raised[-1].facts["detail"] == "lead off: the signal is flat"
    assert 85 < raised[-1].time < 88


def test_the_summary_counts_what_was_reported(events):
    end = events[-1]
    assert end.kind == "end"
    assert end.facts["beats"] == {"no class": sum(e.kind == "beat" for e in events)}
    assert "asystole" in end.facts["not_cleared"]
