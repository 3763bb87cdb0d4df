"""The summary by the hour against beat lists made by hand."""

import re

import numpy as np
import pytest

from fl.predict.holter_summary import BIGEMINY, clock, summarise

FS = 100.0
RR = 0.8  # s


def beats(classes, rr=RR, start=1.0):
    """Peaks (samples) of these classes, one every `rr` seconds."""
    return np.rint((start + rr * np.arange(len(classes))) * FS).astype(np.int64)


def summary(classes, peaks=None, unreadable=(), seconds=3600.0, answered=None):
    """The summary of beats of these classes, a string with one letter each."""
    peaks = beats(classes) if peaks is None else peaks
    if answered is None:
        answered = np.array([not any(a <= p < b for a, b in unreadable) for p in peaks], dtype=bool)
    return summarise(peaks, list(classes), answered, unreadable, round(seconds * FS), FS)


def ectopy(classes, name="V", **more):
    return summary(classes, **more).total.ectopy[name]


def test_times_are_hours_minutes_and_seconds():
    assert [clock(s) for s in (0, 59.99, 3599, 3600, 90061)] == [
        "0:00:00",
        "0:00:59",
        "0:59:59",
        "1:00:00",
        "25:01:01",
    ]


@pytest.mark.parametrize("name", ["S", "V"])
def test_beats_in_a_row_are_single_couplets_and_runs(name):
    found = ectopy("NNXNNXXNXXXNXXXXXNX".replace("X", name), name)
    assert (found.beats, found.single, found.couplets, found.runs) == (12, 2, 1, 2)
    assert (found.longest_run.beats, found.longest_run.rate) == (5, pytest.approx(60 / RR))
    assert found.longest_run.at == clock(1 + 12 * RR)
    other = "V" if name == "S" else "S"
    assert ectopy("NXXXN".replace("X", name), other).beats == 0


def test_a_row_of_two_classes_is_two_rows():
    assert ectopy("NVVSVVN").couplets == 2
    assert ectopy("NVVSVVN", "S").single == 1
    assert ectopy("NVVFVN").couplets == 1


def test_every_beat_of_a_class_is_single_or_in_a_couplet_or_in_a_run():
    classes = "".join(np.random.default_rng(0).choice(list("NSV"), 4000))
    for name in "SV":
        found = ectopy(classes, name)
        lengths = [len(row) for row in re.findall(f"{name}+", classes)]
        assert found.beats == sum(lengths) == classes.count(name)
        assert found.single == lengths.count(1)
        assert found.couplets == lengths.count(2)
        assert found.runs == sum(n >= 3 for n in lengths)
        assert found.longest_run.beats == max(lengths)


def test_bigeminy_is_three_single_beats_in_turn():
    assert BIGEMINY == 3
    assert ectopy("NVNVNN").bigeminy == 0
    assert ectopy("NVNVNVNN").bigeminy == 1
    assert ectopy("NVNVNVNVNVN").bigeminy == 1
    assert ectopy("NVNVNVNNVNVNVN").bigeminy == 2
    assert ectopy("NVNVNVVNVN").bigeminy == 0  # a couplet is not a single beat
    assert ectopy("NVSVSVN").bigeminy == 0  # alternates with S, not N


def test_heart_rates_are_of_the_intervals():
    slow, fast = beats("N" * 11, 1.0), beats("N" * 11, 0.5, start=11.5)
    found = summary("N" * 22, peaks=np.concatenate([slow, fast])).total
    intervals = [1.0] * 10 + [0.5] + [0.5] * 10
    assert found.mean_rate == pytest.approx(60 / np.mean(intervals))
    assert (found.lowest_rate, found.highest_rate) == (pytest.approx(60), pytest.approx(120))


def test_one_early_beat_is_not_the_highest_heart_rate():
    peaks = beats("N" * 20)
    peaks[10] -= 40
    assert summary("N" * 20, peaks=peaks).total.highest_rate < 60 / RR * 8 / 7


def test_of_few_beats_there_is_no_lowest_and_highest_rate():
    found = summary("N" * 8).total
    assert found.mean_rate == pytest.approx(60 / RR)
    assert found.lowest_rate is found.highest_rate is None
    assert summary("N" * 9).total.lowest_rate == pytest.approx(60 / RR)


def test_a_pause_is_two_seconds_or_more_and_the_longest_has_its_time():
    peaks = np.array([100, 200, 399, 599, 700, 1000, 1100])
    found = summary("N" * 7, peaks=peaks).total
    assert found.pauses == 2  # 2.0 and 3.0 s, and not 1.99 s
    assert found.longest_interval.seconds == pytest.approx(3.0)
    assert found.longest_interval.at == "0:00:07"
    assert summary("N" * 3, peaks=peaks[:3]).total.longest_interval.seconds == pytest.approx(1.99)


@pytest.mark.parametrize("part", [(1000, 2000), (1050, 1100), (0, 1001), (1800, 3000)])
def test_an_interval_that_touches_a_part_that_cannot_be_read_is_no_pause(part):
    peaks = np.array([900, 1000, 1800, 1900])  # 8 s between the second and the third
    assert summary("NNNN", peaks=peaks).total.pauses == 1
    found = summary("NNNN", peaks=peaks, unreadable=[part]).total
    assert found.pauses == 0
    assert found.longest_interval is None or found.longest_interval.seconds == pytest.approx(1.0)


def test_a_part_that_ends_at_a_beat_does_not_touch_the_interval_after_it():
    peaks = np.array([900, 1000, 1800, 1900])
    assert summary("NNNN", peaks=peaks, unreadable=[(950, 1000)]).total.pauses == 1


def test_beats_where_nothing_can_be_said_are_counted_apart():
    peaks = beats("NNVVVVNN", 1.0)
    found = summary("NNVVVVNN", peaks=peaks, unreadable=[(450, 550)]).total
    assert (found.beats, found.beats_not_answered) == (7, 1)
    v = found.ectopy["V"]
    assert (v.beats, v.single, v.couplets, v.runs, v.longest_run) == (3, 1, 1, 0, None)
    # at 3 and 4 s, and at 6 s: the run of four is cut at the beat at 5 s
    assert found.cannot_say == pytest.approx(1.0 / 3600)


def test_a_part_without_any_beat_parts_a_couplet_too():
    peaks = np.array([100, 200, 400, 500])
    assert ectopy("NVVN", peaks=peaks).couplets == 1
    assert ectopy("NVVN", peaks=peaks, unreadable=[(250, 350)]).single == 2


def test_hours_hold_their_own_beats_and_the_last_may_be_shorter():
    classes = "NNV" * 2900
    whole = summary(classes, seconds=9000.5)
    assert [(h.start, h.end) for h in whole.hours] == [
        ("0:00:00", "1:00:00"),
        ("1:00:00", "2:00:00"),
        ("2:00:00", "2:30:00"),
    ]
    assert (whole.total.start, whole.total.end) == ("0:00:00", "2:30:00")
    assert sum(h.beats for h in whole.hours) == whole.total.beats == 8700
    first_hour = int((beats(classes) < 3600 * FS).sum())
    assert whole.hours[0].beats == first_hour
    assert whole.hours[2].beats == 0
    assert whole.hours[2].mean_rate is None
    for field in ("beats", "single", "couplets", "runs", "bigeminy"):
        parts = [getattr(h.ectopy["V"], field) for h in whole.hours]
        assert sum(parts) == getattr(whole.total.ectopy["V"], field)


def test_what_cannot_be_read_is_shared_among_the_hours():
    whole = summary("NNN", seconds=7200, unreadable=[(350_000, 361_000), (361_000, 362_000)])
    assert [h.cannot_say for h in whole.hours] == pytest.approx([100 / 3600, 20 / 3600])
    assert whole.total.cannot_say == pytest.approx(120 / 7200)


def test_a_run_over_the_hour_belongs_to_the_hour_in_which_it_begins():
    peaks = np.rint(np.array([3597, 3598, 3599, 3600, 3601, 3602]) * FS).astype(np.int64)
    first, second = summary("NVVVVN", peaks=peaks, seconds=7200).hours
    assert (first.ectopy["V"].beats, second.ectopy["V"].beats) == (2, 2)
    assert (first.ectopy["V"].runs, second.ectopy["V"].runs) == (1, 0)
    assert first.ectopy["V"].longest_run.beats == 4


def test_a_recording_in_which_nothing_can_be_said_has_no_figures():
    found = summary("NVV", unreadable=[(0, 360_000)]).total
    assert (found.beats, found.beats_not_answered, found.cannot_say) == (0, 3, 1.0)
    assert found.mean_rate is found.longest_interval is None
    assert found.ectopy["V"].beats == found.pauses == 0
