"""The mean of the last rounds' weights: which rounds, when it is chosen, and what stays."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.prepared_sites import PreparedSites, prepared_job, start, train
from support.rounds import run

import server.rounds.round_loop
from fl.config.run_config import RunConfig
from fl.runs.history_tables import read_rounds
from fl.training import state_dict
from fl.training.state_dict import load_weights, local_entries
from partitions.splits import VAL
from server.rounds.checkpoints import TrainingProgress
from server.rounds.weight_averaging import mean_weights, remember_round, rounds_to_average


@dataclass
class MeanSites(PreparedSites):
    """Sites that are asked about the last round's weights, and then about the mean."""

    of_mean: float = 0.9

    def evaluated(self, site, number, split):
        again = self.requests.count((VAL, number, site)) == 2
        own, self.auroc = self.auroc, (self.of_mean,) if again else self.auroc
        reply = super().evaluated(site, number, split)
        self.auroc = own
        return reply


@pytest.mark.parametrize(
    ("of_mean", "best", "averaged", "weight"),
    [(0.9, 4, 3, 6), (0.8, 4, 3, 6), (0.7, 2, 0, 4)],  # as good as the best round is enough
)
def test_the_mean_is_chosen_if_no_round_is_better(tmp_path, of_mean, best, averaged, weight):
    sites = MeanSites(auroc=(0.5, 0.8, 0.7, 0.6), of_mean=of_mean)
    progress = train(prepared_job(tmp_path, rounds=4, average_rounds=3), sites)
    assert (progress.best_round, progress.averaged) == (best, averaged)
    # A round adds two to each weight: the mean of 4, 6 and 8.
    np.testing.assert_allclose(progress.best_weights["w"], weight)
    np.testing.assert_allclose(progress.weights["w"], 8)
    assert sites.requests[-6:-3] == sites.requests[-3:], "one more request to each site"
    rows = read_rounds(tmp_path)
    assert [(row.round, row.averaged) for row in rows] == [(1, 0), (2, 0), (3, 0), (4, 0), (4, 3)]
    assert rows[-1].val_macro_auroc == pytest.approx(of_mean, abs=1e-6)
    assert (rows[-1].participants, rows[-1].failures, rows[-1].train_loss) == (3, 0, None)


@pytest.mark.parametrize("off", [0, 1])
def test_without_it_no_site_is_asked_again_and_the_table_has_no_column(tmp_path, off):
    sites = MeanSites()
    progress = train(prepared_job(tmp_path, average_rounds=off), sites)
    assert len(sites.of(2)) == 6
    assert progress.recent == {}
    assert "averaged" not in (tmp_path / "rounds.csv").read_text()


def test_a_training_that_ends_early_averages_the_rounds_that_it_has(tmp_path):
    job = prepared_job(tmp_path, rounds=6, average_rounds=5, patience=1)
    progress = train(job, MeanSites(auroc=(0.9, 0.5), of_mean=0.95))
    assert (progress.round, progress.best_round, progress.averaged) == (2, 2, 2)
    np.testing.assert_allclose(progress.best_weights["w"], 3)


def test_a_resumed_training_averages_the_same_weights(tmp_path):
    job = prepared_job(tmp_path, rounds=4, average_rounds=3)
    whole = train(job, MeanSites())
    resumed = train(job, MeanSites())
    np.testing.assert_array_equal(resumed.best_weights["w"], whole.best_weights["w"])
    assert (resumed.best_round, resumed.averaged) == (whole.best_round, whole.averaged) == (4, 3)


def test_a_site_that_does_not_validate_the_mean_is_a_failure_of_its_line(tmp_path):
    class Refusing(MeanSites):
        def evaluated(self, site, number, split):
            reply = super().evaluated(site, number, split)
            again = self.requests.count((VAL, number, site)) == 2 and site == "site-2"
            return replace(reply, loss_sum=float("nan")) if again else reply

    progress = train(prepared_job(tmp_path, average_rounds=2), Refusing())
    assert [(r.averaged, r.participants, r.failures) for r in progress.round_rows[-2:]] == [
        (0, 3, 0),
        (2, 2, 1),
    ]


def test_what_stays_at_the_sites_is_not_averaged(tmp_path, monkeypatch):
    monkeypatch.setattr(state_dict, "local_entries", lambda *_: frozenset({"norm"}))

    def change(trained, number):
        return replace(trained, weights={"w": trained.weights["w"]})

    first = start(w=np.zeros(2, np.float32), norm=np.full(3, 7.0, np.float32))
    job = prepared_job(tmp_path, average_rounds=2)
    progress = train(job, MeanSites(change=change), progress=first)
    np.testing.assert_allclose(progress.best_weights["w"], 3)
    assert progress.best_weights["norm"] is progress.weights["norm"]


@given(st.integers(1, 6), st.integers(2, 5), st.integers(0, 10**6))
def test_the_mean_is_over_the_last_rounds_alone(rounds, kept, seed):
    rng = np.random.default_rng(seed)
    config = RunConfig(rounds=9, average_rounds=kept)
    progress = TrainingProgress(weights={}, best_weights={})
    after = []
    for number in range(1, rounds + 1):
        same = np.float32(1 / 3)
        progress.weights = {"a": rng.normal(size=3).astype(np.float32), "same": same.reshape(1)}
        progress.round = number
        remember_round(config, progress)
        after.append(progress.weights["a"])
    expected = min(rounds, kept)
    assert rounds_to_average(progress) == (expected if expected > 1 else 0)
    mean = mean_weights(progress)
    assert mean["a"].dtype == np.float32
    np.testing.assert_allclose(mean["a"], np.mean(after[-kept:], axis=0), rtol=1e-5, atol=1e-6)
    assert mean["same"] == np.float32(1 / 3), "the mean of equal weights is that weight"


class Stop(BaseException):
    """The machine goes off."""


@pytest.mark.parametrize("strategy", ["fedavg", "fedbn", "scaffold", "finetune"])
@pytest.mark.parametrize("step", ["save_progress", "validate_mean"])
def test_a_run_that_was_stopped_ends_with_the_same_bits(make_job, monkeypatch, strategy, step):
    given_settings = {"strategy": strategy, "average_rounds": 2, "rounds": 2, "local_epochs": 1}
    whole, stopped = (make_job(2, name=name, **given_settings) for name in ("whole", "stopped"))
    _, expected = run(whole)
    real = getattr(server.rounds.round_loop, step)

    def stop(*args):
        real(*args)
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(server.rounds.round_loop, step, stop)  # at its first call
        with pytest.raises(Stop):
            run(stopped)
    _, found = run(stopped)
    assert found == expected
    for kind in ("best", "last"):
        file = Path("weights") / f"{strategy}-{kind}.safetensors"
        one, other = (load_weights(Path(job.workspace) / file) for job in (whole, stopped))
        assert all(np.array_equal(one[name], other[name]) for name in one)
    own = local_entries(strategy, "resnet1d", "rhythm")
    assert bool(own) is (strategy == "fedbn")
