"""The estimate of a run's time: its work is counted, its speed is measured."""

import pytest

from clients.training_plan import training_plan
from fl.config.run_config import RunConfig
from fl.datasets.source_selection import select_sources
from fl.reports.number_format import duration
from server.experiment.estimate import (
    Speed,
    Workload,
    expected_workload,
    measure_speed,
    sample_source,
    training_seconds,
    workload_of,
)
from server.experiment.prepare import prepare

WORK = Workload(steps=(30, 10, 20), crops=(0, 0, 0))
SECOND = Speed(step=1.0, crop=0.0)


@pytest.mark.parametrize(
    ("settings", "rounds_of_work"),
    [
        ({"workers": 2}, 30),  # the largest site alone takes as long as two workers for the rest
        ({"workers": 1}, 60),
        ({"engine": "local", "workers": 2}, 60),
        ({"workers": 1, "fraction": 0.5}, 30),
        ({"workers": 1, "seeds": "1,2,3"}, 180),
        ({"workers": 1, "seeds": "1,2,3", "site_folds": 2}, 360),
        ({"workers": 1, "site_folds": 5, "site_fold": 2}, 60),
        ({"workers": 1, "compare": "fedavg"}, 60 + 120),
        ({"workers": 3, "compare": "fedavg,fedprox"}, 2 * 30 + 60),
    ],
)
def test_the_slowest_site_or_the_workers_decide_the_time_of_a_round(settings, rounds_of_work):
    config = RunConfig(rounds=5, clients=3, **settings)
    assert training_seconds(config, WORK, SECOND) == 5 * rounds_of_work


def test_validation_is_counted_too():
    work = Workload(steps=(0, 0), crops=(10, 30))
    config = RunConfig(rounds=2, clients=2, workers=1)
    assert training_seconds(config, work, Speed(step=1.0, crop=0.5)) == 2 * 20


@pytest.mark.slow
@pytest.mark.parametrize("folds", [0, 2])
def test_the_work_of_unread_sources_is_estimated_from_a_few_records(folds):
    settings = {"data": "synthetic", "synthetic_records": 200, "clients": 3, "partition": "iid"}
    config = RunConfig(**settings, site_folds=folds)
    sources = select_sources(config).sources
    samples = [sample_source(config, source) for source in sources.values()]
    assert [sample.records for sample in samples] == [200, 100]
    assert all(sample.seconds > 0 for sample in samples)
    counted = workload_of(config, prepare(config, select_sources(config)))
    expected = expected_workload(config, samples)
    assert sum(expected.steps) == pytest.approx(sum(counted.steps), rel=0.1)
    assert sum(expected.crops) == pytest.approx(sum(counted.crops), rel=0.3)


@pytest.mark.parametrize("task", ["rhythm", "beat"])
def test_the_speed_is_measured_on_the_runs_own_network(task, monkeypatch):
    monkeypatch.setattr("server.experiment.estimate.MEASURED", 0.01)
    small = RunConfig(task=task, model="cnn1d", batch_size=4)
    speed = measure_speed(small, training_plan(small, "site-1", 1))
    assert 0 < speed.crop < 1
    assert 0 < speed.step < 10


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.4, "3 s"), (89, "89 s"), (130, "2 min"), (9000, "2.5 h")]
)
def test_a_duration_is_rounded_to_what_an_estimate_can_say(seconds, text):
    assert duration(seconds) == text
