"""Each site alone and all data pooled: plain training, over any engine and after any stop."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.jobs import job_over
from support.rounds import Watching, run

import server.app
import server.baselines.baseline_summary
import server.baselines.baselines
import server.rounds.model_selection
import server.rounds.round_loop
from clients.app import app as client_app
from clients.simulated_sites import open_trainee, sites_of
from clients.training_plan import training_plan
from fl.data.cohort import Cohort
from fl.ecg.tasks import RHYTHM
from fl.evaluation.strategy_comparison import comparison
from fl.messages.flower_codec import read_job
from fl.models import build_network
from fl.training.loop import fit as train_plainly
from fl.training.state_dict import get_weights, load_weights, set_weights
from fl.util.errors import FederationError
from server.app import SilentListener, initial_weights, server_app
from server.engines.simulation import simulate
from server.rounds.checkpoints import load_progress
from server.rounds.training_results import load_result

NAMES = ("local", "pooled", "fedavg", "finetune")


BRIEF = {"local_epochs": 1, "finetune_epochs": 1}


@pytest.fixture
def compare(make_job):
    """A job over two sites that compares two strategies."""

    def make(name="run", **settings):
        return make_job(2, name=name, compare="fedavg,finetune", **BRIEF, **settings)

    return make


@pytest.fixture(scope="module")
def compared(few, tmp_path_factory):
    """One such job, done once for all tests."""
    job = job_over(few, tmp_path_factory.mktemp("compared"), 2, compare="fedavg,finetune", **BRIEF)
    run(job)
    return job


def result(job, name):
    """One training's result, as it was kept."""
    return load_result(Path(job.workspace), RHYTHM, name)


def rows(job, file):
    """Lines of a table, without the seconds, which differ from run to run."""
    with (Path(job.workspace) / file).open(newline="") as table:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(table)]


def results(job):
    """All that must not depend on engine, workers or interruptions."""
    folder = Path(job.workspace)
    weights = {path.name: path.read_bytes() for path in sorted((folder / "weights").iterdir())}
    return {
        **weights,
        "predictions": (folder / "predictions.csv").read_bytes(),
        "sites": (folder / "sites.csv").read_bytes(),
        "rounds": rows(job, "rounds.csv"),
        "summaries": {name: result(job, name).summary for name in NAMES},
    }


def plainly(job, cohort, name):
    """Weights of each round of plain training on a cohort, on the schedule of the run."""
    network = build_network("resnet1d", RHYTHM)
    set_weights(network, initial_weights(job))
    state, after = None, []
    for number in range(1, job.config.rounds + 1):
        plan = training_plan(job.config.for_strategy("fedavg"), name, number)
        state = train_plainly(network, cohort, plan, state).state
        after.append(get_weights(network))
    return after


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])


def test_pooled_is_plain_training_on_all_training_records(compared):
    sites = sites_of(compared)
    everyone = Cohort.joined([sites[name].splits["train"] for name in sorted(sites)])
    assert len(everyone) == sum(len(site.splits["train"]) for site in sites.values())
    after = plainly(compared, everyone, "pooled")
    folder = Path(compared.workspace) / "weights"
    assert_same(load_weights(folder / "pooled-last.safetensors"), after[-1])
    best = result(compared, "pooled").summary.best_round
    assert_same(load_weights(folder / "pooled-best.safetensors"), after[best - 1])


def test_a_site_alone_is_plain_training_on_its_own_records(compared):
    best = result(compared, "local").summary.best_round_by_site
    for name, site in sites_of(compared).items():
        after = plainly(compared, site.splits["train"], name)
        path = Path(compared.workspace) / "weights" / f"local-{name}-best.safetensors"
        assert_same(load_weights(path), after[best[name] - 1])


def test_a_strategy_of_a_comparison_is_the_strategy_by_itself(compared, make_job):
    job = make_job(2, name="itself", strategy="finetune", **BRIEF)
    run(job)
    assert result(job, "finetune").summary == result(compared, "finetune").summary
    one, other = (result(done, "finetune").predictions for done in (job, compared))
    assert one.to_csv() == other.to_csv()


def test_all_have_the_same_budget_and_say_what_they_spent(compared):
    steps = {name: result(compared, name).summary.gradient_steps for name in NAMES}
    config, sites = compared.config, sites_of(compared)
    per_round = {n: -(-len(s.splits["train"]) // config.batch_size) for n, s in sites.items()}
    total = sum(len(site.splits["train"]) for site in sites.values())
    assert steps["local"] == steps["fedavg"] == config.rounds * sum(per_round.values())
    assert steps["pooled"] == config.rounds * -(-total // config.batch_size)
    assert steps["finetune"] == steps["fedavg"] + sum(per_round.values())


def test_the_tables_hold_every_training(compared):
    rounds, sites = rows(compared, "rounds.csv"), rows(compared, "sites.csv")
    expected = [(name, number) for name in NAMES for number in ("1", "2")]
    assert [(row["strategy"], row["round"]) for row in rounds] == expected
    for name in NAMES:
        splits = [row["split"] for row in sites if row["strategy"] == name]
        assert splits.count("val") == 4
        assert splits.count("test") == 2
    local = [row for row in sites if row["strategy"] == "local" and row["split"] == "val"]
    for number in ("1", "2"):
        same_round = [row for row in local if row["round"] == number]
        n = np.array([int(row["n_records"]) for row in same_round])
        loss = (np.array([float(row["loss"]) for row in same_round]) * n).sum() / n.sum()
        (row,) = [r for r in rounds if (r["strategy"], r["round"]) == ("local", number)]
        assert float(row["val_loss"]) == pytest.approx(loss, abs=1e-5)
        assert row["participants"] == "2"


def test_ray_workers_give_what_one_process_gives(compare, compared):
    job = compare("ray", engine="ray", workers=2)
    simulate(server_app(SilentListener()), client_app, job, 2)
    assert results(job) == results(compared)


class Stop(BaseException):
    """The machine goes off."""


# Where it goes off, and after how many times that this is done.
MOMENTS = {
    "in the first round of all": (server.baselines.baselines, "save_progress", 1),
    "between the rounds of one": (server.baselines.baselines, "save_progress", 3),
    "before pooled is kept": (server.baselines.baseline_summary, "save_result", 2),
    "after pooled is kept": (server.app, "train", 1),
    "within a strategy": (server.rounds.round_loop, "save_progress", 1),
    "between two strategies": (server.app, "train", 2),
    "before the tables": (server.app, "write_tables", 1),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_comparison_that_was_interrupted_ends_as_if_it_had_not_been(
    compare, compared, monkeypatch, moment
):
    where, what, times = MOMENTS[moment]
    real, calls = getattr(where, what), []

    def until(*args, **kwargs):
        calls.append(what)
        if len(calls) == times:
            raise Stop
        return real(*args, **kwargs)

    job = compare("stopped")
    with monkeypatch.context() as patch:
        patch.setattr(where, what, until)
        with pytest.raises(Stop):
            run(job)
    run(job)
    assert results(job) == results(compared)


@pytest.mark.parametrize("times", [3, 12])
def test_the_mean_of_the_last_rounds_is_the_same_after_a_stop(compare, monkeypatch, times):
    whole, stopped = (compare(name, average_rounds=2) for name in ("whole", "stopped"))
    run(whole)
    real, calls = server.baselines.baselines.save_progress, []

    def until(*args):
        calls.append(args)
        if len(calls) == times:
            raise Stop
        real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(server.baselines.baselines, "save_progress", until)
        patch.setattr(server.app, "train", stop)
        with pytest.raises(Stop):
            run(stopped)
    run(stopped)
    assert results(stopped) == results(whole)
    means = [row for row in rows(whole, "rounds.csv") if row["averaged"] != "0"]
    assert [(row["strategy"], row["round"], row["averaged"]) for row in means] == [
        (name, "2", "2") for name in NAMES
    ]


def stop(*_):
    raise Stop


def test_a_mean_that_is_chosen_is_that_of_plain_training(compare, monkeypatch):
    monkeypatch.setattr(server.rounds.model_selection, "_is_best", lambda *_: True)
    job = compare("mean", average_rounds=2)
    run(job)
    summaries = {name: result(job, name).summary for name in NAMES}
    assert summaries["local"].averaged_by_site == {"site-1": 2, "site-2": 2}
    assert [summaries[name].averaged for name in NAMES] == [None, 2, 2, 2]
    assert summaries["pooled"].chosen == "the mean of rounds 1 to 2"
    sites = sites_of(job)
    everyone = Cohort.joined([sites[name].splits["train"] for name in sorted(sites)])
    own = {f"local-{name}": site.splits["train"] for name, site in sites.items()}
    for name, cohort in {"pooled": everyone, **own}.items():
        first, second = plainly(job, cohort, name.removeprefix("local-"))
        both = {k: np.stack([first[k], second[k]]).astype(np.float64) for k in first}
        mean = {k: value.mean(axis=0).astype(np.float32) for k, value in both.items()}
        path = Path(job.workspace) / "weights" / f"{name}-best.safetensors"
        assert_same(load_weights(path), mean)


def test_local_and_pooled_training_can_have_rates_of_their_own(compare, compared):
    job = compare("rates", lr_local=0.001, lr_pooled=0.003)
    run(job)
    used = {name: result(job, name).summary.lr for name in NAMES}
    assert used == {"local": 0.001, "pooled": 0.003, "fedavg": 0.002, "finetune": 0.002}
    assert result(job, "fedavg").summary == result(compared, "fedavg").summary
    assert result(job, "pooled").summary != result(compared, "pooled").summary


def test_what_is_over_is_not_done_again(compare, compared):
    def client(message, context):
        assert message.metadata.message_type == "query", "a finished training was run again"
        return client_app(message, context)

    before = results(compared)
    watching, _ = run(compared, client)
    assert (watching.rows, watching.failed) == ([], [])
    assert results(compared) == before


def failing(site, times, kind="train"):
    """A client that fails this many times where this site trains alone, or all as one."""
    left = [times]

    def client(message, context):
        job = read_job(message)
        this_site = open_trainee(job, int(context.node_config["partition-id"])).name == site
        baseline = job.strategy in ("local", "pooled")
        if baseline and this_site and message.metadata.message_type == kind and left[0]:
            left[0] -= 1
            raise OSError("disk on fire")
        return client_app(message, context)

    return client


@pytest.mark.parametrize("kind", ["train", "evaluate"])
def test_a_request_that_fails_is_named_and_made_again(compare, compared, kind):
    job = compare("failing")
    watching, _ = run(job, failing("site-2", 1, kind))
    assert len(watching.failed) == 1
    assert watching.failed[0][1] == "site-2"
    assert "disk on fire" in watching.failed[0][2]
    for name in NAMES:
        assert result(job, name).summary == result(compared, name).summary
    assert [f["site"] for f in result(job, "local").failures] == ["site-2"]


def test_a_site_that_cannot_train_alone_is_left_out_by_name(compare, compared):
    job = compare("failing")
    run(job, failing("site-2", 2))
    summary = result(job, "local").summary
    assert summary.sites["site-2"] is None
    assert summary.sites["site-1"] == result(compared, "local").summary.sites["site-1"]
    assert summary.central_by_site.keys() == {"site-1"}
    assert result(job, "fedavg").summary == result(compared, "fedavg").summary
    summaries = {name: result(job, name).summary for name in NAMES}
    predictions = [result(job, name).predictions for name in NAMES]
    found = comparison(summaries, predictions, 0, rounds=2, local_epochs=1).differences
    assert "site-2" not in {row.site for row in found if row.against == "local"}
    assert "site-2" in {row.site for row in found if row.against == "pooled"}


@pytest.mark.parametrize(
    ("site", "quorum", "words"),
    [("pooled", 0.5, "Round 1 of pooled, asked twice. pooled: "), ("site-1", 1.0, "local-site-1")],
)
def test_below_the_quorum_a_comparison_stops(compare, site, quorum, words):
    with pytest.raises(FederationError, match=words):
        run(compare(quorum=quorum), failing(site, 2))


def test_the_listener_sees_every_training(compare):
    class All(Watching):
        def __init__(self):
            super().__init__()
            self.begun, self.alone = [], []

        def training(self, strategy, rounds, sites):
            self.begun.append((strategy, rounds, [site.site for site in sites]))

        def baseline_round(self, site, row, last):
            self.alone.append((site, row.round, last))

    job, watching = compare(), All()
    simulate(server_app(watching), client_app, job, 2)
    both = ["site-1", "site-2"]
    assert watching.begun == [
        ("local", 2, both),
        ("pooled", 2, ["pooled"]),
        ("fedavg", 2, both),
        ("finetune", 2, both),
    ]
    assert sorted(watching.alone) == [(s, n, n == 2) for s in both for n in (1, 2)]
    rounds = [(row.strategy, row.round) for row in watching.rows]
    # Fine-tuning begins where FedAvg ended: its rounds are not run again.
    assert rounds == [(name, n) for name in ("pooled", "fedavg") for n in (1, 2)]


def test_a_training_that_is_the_same_as_an_earlier_one_takes_its_rounds(compared):
    folder = Path(compared.workspace)
    first, second = (load_progress(folder / "checkpoint" / name) for name in NAMES[2:])
    for entry, values in first.best_weights.items():
        np.testing.assert_array_equal(second.best_weights[entry], values)
    for mine, its in ((second.round_rows, first.round_rows), (second.site_rows, first.site_rows)):
        assert mine == [replace(row, strategy="finetune") for row in its]
    assert [row.round for row in result(compared, "finetune").round_rows] == [1, 2]
