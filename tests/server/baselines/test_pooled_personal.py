"""A comparison with `personal`: what its sites train alone, and the same after pooled training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.jobs import job_over
from support.rounds import run

import server.app
import server.baselines.pooled_personal
from clients.simulated_sites import sites_of
from fl.ecg.tasks import BEAT, RHYTHM
from fl.evaluation.strategy_comparison import comparison
from fl.training.state_dict import load_weights
from server.rounds.training_results import load_result

NAMES = ("local", "pooled", "pooled-personal", "fedavg", "personal")
BRIEF = {"local_epochs": 1, "personal_epochs": 2}


@pytest.fixture(scope="module")
def compared(few, tmp_path_factory):
    job = job_over(few, tmp_path_factory.mktemp("with"), 2, compare="fedavg,personal", **BRIEF)
    run(job)
    return job


def result(job, name, task=RHYTHM):
    return load_result(Path(job.workspace), task, name)


def test_personal_by_itself_is_personal_of_a_comparison(compared, make_job):
    """Each site then trains its own model itself: bit for bit what `local` trained."""
    job = make_job(2, name="itself", strategy="personal", **BRIEF)
    run(job)
    assert result(job, "personal").summary == result(compared, "personal").summary
    one, other = (result(done, "personal").predictions for done in (job, compared))
    assert one.to_csv() == other.to_csv()
    for name in sites_of(job):
        alone = load_weights(sites_of(job)[name].folder / "trained-alone.safetensors")
        best = load_weights(Path(compared.workspace) / "weights" / f"local-{name}-best.safetensors")
        assert alone.keys() == best.keys()
        for entry, values in best.items():
            np.testing.assert_array_equal(alone[entry], values)


def test_the_mean_of_the_last_rounds_is_a_site_alones_as_it_is_locals(make_job):
    both = {"average_rounds": 2, **BRIEF}
    jobs = [
        make_job(2, name="with", compare="personal", **both),
        make_job(2, name="itself", strategy="personal", **both),
    ]
    for job in jobs:
        run(job)
    one, other = (result(job, "personal") for job in jobs)
    assert one.summary == other.summary
    assert one.predictions.to_csv() == other.predictions.to_csv()
    for name, site in sites_of(jobs[0]).items():
        kept, own = (sites_of(job)[name].folder / "trained-alone.safetensors" for job in jobs)
        assert kept.read_bytes() == own.read_bytes(), site.name
    pooled, rival = (result(jobs[0], name).summary for name in ("pooled", "pooled-personal"))
    assert (rival.best_round, rival.averaged) == (pooled.best_round, pooled.averaged)


def test_the_budget_counts_what_each_site_trained_for_itself(compared):
    steps = {name: result(compared, name).summary.gradient_steps for name in NAMES}
    sites = sites_of(compared)
    batch = compared.config.batch_size
    epoch = sum(-(-len(site.splits["train"]) // batch) for site in sites.values())
    assert steps["personal"] == steps["fedavg"] + steps["local"] + 2 * epoch
    assert steps["pooled-personal"] == steps["pooled"] + steps["local"] + 2 * epoch


def test_on_records_of_no_site_the_global_model_alone_is_measured(compared):
    for name, base in (("personal", "fedavg"), ("pooled-personal", "pooled")):
        mine, its = (result(compared, which) for which in (name, base))
        assert mine.summary.central == its.summary.central
        assert mine.summary.thresholds == its.summary.thresholds
        at_server = its.predictions.take(its.predictions.site == "central")
        own = mine.predictions.take(mine.predictions.site == "central")
        renamed = replace(at_server, strategy=np.full(len(at_server), name))
        assert own.to_csv() == renamed.to_csv()
        files = [
            Path(compared.workspace) / "weights" / f"{n}-best.safetensors" for n in (name, base)
        ]
        for entry, values in load_weights(files[0]).items():
            np.testing.assert_array_equal(values, load_weights(files[1])[entry])


def test_every_site_is_tested_in_every_training(compared):
    for name in NAMES:
        found = result(compared, name)
        assert set(found.predictions.site.tolist()) == {"central", "site-1", "site-2"}
        assert set(found.predictions.strategy[found.predictions.site != "central"]) == {name}


def test_personal_is_compared_with_its_rival_and_fedavg_is_not(compared):
    summaries = {name: result(compared, name).summary for name in NAMES}
    predictions = [result(compared, name).predictions for name in NAMES]
    found = comparison(summaries, predictions, 0, rounds=2, local_epochs=1).differences
    pairs = {(row.strategy, row.against) for row in found}
    assert {("personal", "local"), ("personal", "pooled"), ("personal", "pooled-personal")} <= pairs
    assert {("pooled-personal", "local"), ("pooled-personal", "pooled")} <= pairs
    assert ("fedavg", "pooled-personal") not in pairs


class Stop(BaseException):
    """The machine goes off."""


def stopping(*_, **__):
    raise Stop


@pytest.mark.parametrize(
    ("where", "what"),
    [(server.baselines.pooled_personal, "final_measures"), (server.app, "train")],
    ids=["before it", "after it"],
)
def test_an_interrupted_comparison_ends_as_if_it_had_not_been(
    compared, make_job, monkeypatch, where, what
):
    job = make_job(2, name="stopped", compare="fedavg,personal", **BRIEF)
    with monkeypatch.context() as patch:
        patch.setattr(where, what, stopping)
        with pytest.raises(Stop):
            run(job)
    run(job)
    for name in NAMES:
        assert result(job, name).summary == result(compared, name).summary
        assert result(job, name).predictions.to_csv() == result(compared, name).predictions.to_csv()


def test_without_personal_there_is_no_rival(make_job):
    job = make_job(2, name="plain", compare="fedavg", rounds=1, local_epochs=1)
    run(job)
    assert result(job, "pooled-personal") is None


def test_beats_have_it_too(beats, tmp_path):
    settings = {"task": "beat", "model": "beat_gru", "batch_size": 64, "rounds": 1}
    job = job_over(beats, tmp_path / "beats", 2, compare="personal", **settings, **BRIEF)
    run(job)
    found = {n: result(job, n, BEAT) for n in ("local", "pooled", "pooled-personal", "personal")}
    assert all(one.failures == [] for one in found.values())
    steps = {name: one.summary.gradient_steps for name, one in found.items()}
    assert steps["pooled-personal"] > steps["pooled"] + steps["local"]
