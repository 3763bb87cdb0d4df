"""The benchmark of the monitor's speed, and that its memory does not grow with the time."""

import tracemalloc

import numpy as np
import pytest
from support.rules import even_rule
from support.saved_models import save_model

from benchmarks.speed.monitor import measure
from benchmarks.studies.monitor import rhythm_episodes, without
from fl.ecg.records import Annotations
from fl.ecg.tasks import BEAT_CAUSAL
from fl.evaluation.ec57_episodes import EpisodeCounts, compare_episodes
from fl.monitor.demonstration import demonstration
from fl.monitor.stream import Monitor


@pytest.mark.slow  # half an hour of signal, twice
def test_memory_after_an_hour_is_that_after_half_an_hour():
    record = demonstration(times=20)
    monitor = Monitor(record.leads, record.fs)
    tracemalloc.start()
    held = []
    for _ in range(2):
        for start in range(0, record.signal.shape[1], 500):
            monitor.push(record.signal[:, start : start + 500])
        held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert held[1] < held[0] + 50_000


@pytest.mark.slow  # a few minutes of signal
def test_the_benchmark_measures_speed_lateness_and_memory(tmp_path):
    rule = even_rule(BEAT_CAUSAL.classes, otherwise="N").model_dump()
    rows = measure(save_model(tmp_path, "beat_gru_causal", "beat-causal", decision=rule), [0.05])
    assert "times real time" in rows
    assert "MiB after 0.05 h" in rows


def test_episodes_are_counted_as_ec57_counts_them():
    counts = compare_episodes([(0, 10), (50, 60)], [(5, 20), (30, 40)])
    assert counts.figures() == {
        "episode se": 0.5,
        "episode ppv": 0.5,
        "duration se": 0.25,
        "duration ppv": 0.2,
    }
    assert compare_episodes([(0, 10)], [(14, 20)], tolerance=5).found == 1
    assert EpisodeCounts().figures()["episode se"] is None


def test_episodes_of_rhythm_marks_and_the_parts_that_are_left_out():
    samples = np.array([0, 100, 300])
    notes = Annotations(samples=samples, symbols=("+",) * 3, rhythms=("(N", "(AFIB", "(N"))
    assert rhythm_episodes(notes, 10.0, 40.0, ("(AFIB",)) == [(10.0, 30.0)]
    assert without([(0.0, 10.0)], [(2.0, 4.0)]) == [(0.0, 2.0), (4.0, 10.0)]
