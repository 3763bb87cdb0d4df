"""Who is asked for what in each round, and when a training ends: sites with prepared answers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.prepared_sites import PreparedSites, federation_of, prepared_job, start, train
from support.rounds import Watching

from fl.config.run_config import RunConfig
from fl.runs.history_tables import read_rounds, read_sites
from fl.training import state_dict
from fl.util.errors import FederationError
from server.aggregation import kept_updates
from server.aggregation.flower_internals import restore_memory
from server.aggregation.strategies import STRATEGIES
from server.aggregation.update_store import UpdateStore
from server.rounds import round_loop
from server.rounds.checkpoints import TrainingProgress, load_progress
from server.rounds.round_loop import may_be_last_round, out_of_patience, rounds_left, run_rounds

SITES = ["site-1", "site-2", "site-3"]
ASKED = ("train", "train and validate")


def fails(site, rounds):
    """A change of the updates: in these rounds, one site's holds no number."""

    def change(trained, number):
        if trained.site != site or number not in rounds:
            return trained
        return replace(trained, weights={"w": np.full(2, np.nan, np.float32)})

    return change


def saved(job):
    return load_progress(Path(job.workspace) / "checkpoint" / job.strategy)


def test_a_round_is_validated_where_the_next_is_trained_and_the_last_one_alone(tmp_path):
    sites = PreparedSites()
    progress = train(prepared_job(tmp_path, rounds=3), sites)
    assert sites.of(1) == [("train", site) for site in SITES]
    assert sites.of(2) == [("train and validate", site) for site in SITES]
    last = [("val", site) for site in reversed(SITES)]  # those with the most to validate come first
    assert sites.of(3) == [("train and validate", site) for site in SITES] + last
    assert [row.round for row in progress.round_rows] == [1, 2, 3]
    assert (progress.round, progress.validated_rounds) == (3, 3)


def test_weights_are_averaged_by_patients_in_every_round(tmp_path):
    def change(trained, number):
        return replace(trained, n_records=900) if trained.site == "site-3" else trained

    # Sites 1, 2 and 3 add 1, 2 and 3, and the third, of thirty patients, counts three times.
    sites = PreparedSites(n_train=(10, 10, 30), change=change)
    progress = train(prepared_job(tmp_path, rounds=2), sites)
    np.testing.assert_allclose(progress.weights["w"], 2 * (1 + 2 + 3 * 3) / 5, rtol=1e-6)
    assert progress.weights["w"].dtype == np.float32
    assert progress.steps == 2 * 3 * 2


def test_sites_that_do_not_train_validate_meanwhile(tmp_path):
    sites = PreparedSites()
    progress = train(prepared_job(tmp_path, rounds=2, fraction=0.34), sites)
    trained = {number: site for kind, number, site in sites.requests if kind in ASKED}
    others = {("val", site) for site in SITES if site != trained[2]}
    assert sites.of(1)[0] == ("train", trained[1])
    assert set(sites.of(1)[1:]) == others
    assert sites.of(2)[0] == ("train and validate", trained[2])
    assert [(row.round, row.site) for row in progress.site_rows] == [
        (number, site) for number in (1, 2) for site in SITES
    ]
    assert [row.participants for row in progress.round_rows] == [1, 1]


def test_a_refused_validation_is_asked_for_again_of_that_site_alone(tmp_path):
    refused = []

    def validate(reply, number):
        if reply.site == "site-2" and number == 1 and not refused:
            refused.append(reply.site)
            return replace(reply, loss_sum=float("nan"))
        return reply

    sites = PreparedSites(validate=validate)
    progress = train(prepared_job(tmp_path), sites)
    assert sites.of(1)[3:] == [("val", "site-2")]
    assert [row.site for row in progress.site_rows if row.round == 1] == SITES
    assert progress.failures == []


@pytest.mark.parametrize(
    ("patience", "auroc", "best", "ends"),
    [
        (0, (0.9, 0.5), 1, 6),  # it waits for ever
        (1, (0.9, 0.5), 1, 2),
        (2, (0.9, 0.5), 1, 3),
        (2, (0.5, 0.6, 0.6, 0.9, 0.5), 4, 6),
        (1, (0.5, 0.6, 0.7, 0.6), 3, 4),
        (2, (0.5, 0.6, 0.6), 6, 6),  # of equally good rounds the last
    ],
)
def test_a_training_ends_when_no_round_was_better_for_as_long_as_its_patience(
    tmp_path, patience, auroc, best, ends
):
    sites = PreparedSites(auroc=auroc)
    progress = train(prepared_job(tmp_path, rounds=6, patience=patience), sites)
    assert (progress.best_round, progress.round) == (best, ends)
    assert max(number for kind, number, _ in sites.requests if kind in ASKED) == ends
    np.testing.assert_allclose(progress.best_weights["w"], 2 * best)


@pytest.mark.parametrize(
    ("done", "best", "pending", "left", "impatient", "last"),
    [
        (4, 2, False, True, False, False),
        (5, 2, False, False, True, True),
        (5, 2, True, True, False, True),
        (9, 8, False, True, False, False),
        (10, 9, False, False, False, True),
        (10, 9, True, True, False, True),
    ],
)
def test_of_ten_rounds_and_a_patience_of_three(done, best, pending, left, impatient, last):
    config = RunConfig(rounds=10, patience=3)
    progress = TrainingProgress(weights={}, best_weights={}, round=done, best_round=best)
    progress.unvalidated = {"participants": 3} if pending else {}
    assert rounds_left(config, progress) is left
    assert out_of_patience(config, progress) is impatient
    assert may_be_last_round(config, progress) is last


def test_failures_are_counted_in_their_own_round(tmp_path):
    watching = Watching()
    job = prepared_job(tmp_path, rounds=3)
    progress = train(job, PreparedSites(change=fails("site-2", (2,))), watching)
    assert [(row.participants, row.failures) for row in progress.round_rows] == [
        (3, 0),
        (2, 1),
        (3, 0),
    ]
    assert [(f["round"], f["site"]) for f in progress.failures] == [(2, "site-2")]
    ((number, site, note),) = watching.failed
    assert (number, site) == (2, "site-2")
    assert note.startswith("its update is refused: w holds NaN")
    assert watching.rows == progress.round_rows


def test_failures_of_validation_belong_to_the_round_that_was_validated(tmp_path):
    def validate(reply, number):
        return replace(reply, loss_sum=float("nan")) if reply.site == "site-1" else reply

    progress = train(prepared_job(tmp_path, rounds=3), PreparedSites(validate=validate))
    assert [row.failures for row in progress.round_rows] == [1, 1, 1]
    assert [row.participants for row in progress.round_rows] == [3, 3, 3]
    assert {f["site"] for f in progress.failures} == {"site-1"}
    assert [row.site for row in progress.site_rows] == ["site-2", "site-3"] * 3


@pytest.mark.parametrize(
    "changed", [{"weights": {"x": np.zeros(2)}}, {"extra": {"x": np.zeros(2)}}, {"n_records": 0}]
)
def test_each_part_of_an_update_is_checked(tmp_path, changed):
    def change(trained, number):
        return replace(trained, **changed) if trained.site == "site-3" else trained

    progress = train(prepared_job(tmp_path, rounds=1), PreparedSites(change=change))
    assert [f["site"] for f in progress.failures] == ["site-3"]
    np.testing.assert_allclose(progress.weights["w"], 1.5)


@pytest.mark.parametrize("stopped", [1, 2, 3])
def test_below_the_quorum_no_round_is_validated_twice(tmp_path, stopped):
    job = prepared_job(tmp_path, rounds=3, quorum=1.0)
    with pytest.raises(FederationError, match=rf"Round {stopped}: 2 of 3"):
        train(job, PreparedSites(change=fails("site-2", (stopped,))))
    before = saved(job)
    assert (before.validated_rounds if before else 0) == stopped - 1
    sites = PreparedSites()
    progress = train(job, sites)
    assert sites.of(stopped)[:3] == [("train", site) for site in SITES]
    assert [row.round for row in progress.round_rows] == [1, 2, 3]
    assert len(progress.site_rows) == 9


def test_progress_is_on_disk_after_each_round_and_a_finished_training_asks_for_nothing(tmp_path):
    job = prepared_job(tmp_path, rounds=2)
    progress = train(job, PreparedSites())
    assert vars(saved(job)).keys() == vars(progress).keys()
    assert saved(job).round_rows == progress.round_rows
    sites = PreparedSites()
    train(job, sites)
    assert sites.requests == []


def test_a_training_announces_its_rounds_and_sites(tmp_path):
    class Announced(Watching):
        def training(self, strategy, rounds, sites):
            self.announced = strategy, rounds, [info.site for info in sites]

    watching = Announced()
    train(prepared_job(tmp_path), PreparedSites(), watching)
    assert watching.announced == ("fedavg", 2, SITES)


def test_the_tables_hold_the_trainings_before_and_this_one(tmp_path):
    sites = PreparedSites()
    first = train(prepared_job(tmp_path), sites)
    job = prepared_job(tmp_path).model_copy(update={"strategy": "second"})
    federation = replace(federation_of(job, sites), finished=(first,))
    second = run_rounds(federation, STRATEGIES["fedavg"].make(job.config), start())
    rows = read_rounds(tmp_path)
    assert [row.strategy for row in rows] == ["fedavg"] * 2 + ["second"] * 2
    assert [row.seconds for row in rows[2:]] == [row.seconds for row in second.round_rows]
    assert len(read_sites(tmp_path)) == len(first.site_rows) + len(second.site_rows)


def test_seconds_add_up_and_have_three_digits(tmp_path, monkeypatch):
    class Steady:
        def seconds(self):
            return 1.23456

    monkeypatch.setattr(round_loop, "Clock", Steady)
    progress = train(prepared_job(tmp_path, rounds=2), PreparedSites())
    # The last round is timed in two parts: its training, and then its validation.
    assert [row.seconds for row in progress.round_rows] == [1.235, 2.469]


def test_a_clock_gives_the_seconds_since_its_last_reading(monkeypatch):
    now = iter([10.0, 12.5, 13.0])
    monkeypatch.setattr(round_loop.time, "monotonic", lambda: next(now))
    clock = round_loop.Clock(read=next(now))
    assert [clock.seconds(), clock.seconds()] == [2.5, 0.5]


def test_entries_that_stay_at_the_sites_are_not_merged(tmp_path, monkeypatch):
    monkeypatch.setattr(state_dict, "local_entries", lambda *_: frozenset({"norm"}))

    def change(trained, number):
        return replace(trained, weights={"w": trained.weights["w"]})

    first = start(w=np.zeros(2, np.float32), norm=np.full(3, 7.0, np.float32))
    job = prepared_job(tmp_path, rounds=1)
    progress = train(job, PreparedSites(change=change), progress=first)
    assert progress.failures == []
    np.testing.assert_allclose(progress.weights["w"], 2)
    np.testing.assert_array_equal(progress.weights["norm"], 7)


def test_updates_in_a_file_give_the_same_weights(tmp_path, monkeypatch):
    plain = train(prepared_job(tmp_path / "plain"), PreparedSites())
    used = []

    def always(sites, weights, folder):
        used.append(sites)
        return UpdateStore(folder)

    monkeypatch.setattr(kept_updates, "update_store_for", always)
    (tmp_path / "stored").mkdir()
    stored = train(prepared_job(tmp_path / "stored"), PreparedSites())
    assert used == [3, 3]
    np.testing.assert_array_equal(stored.weights["w"], plain.weights["w"])


@pytest.mark.parametrize("name", [name for name, rule in STRATEGIES.items() if rule.remembers])
def test_a_training_that_is_resumed_goes_on_with_what_its_strategy_remembers(tmp_path, name):
    first = {"w": np.full(2, 0.1, np.float32)}
    whole = train(
        prepared_job(tmp_path / "whole", rounds=4, strategy=name),
        PreparedSites(),
        progress=start(**first),
    )
    job = prepared_job(tmp_path / "stopped", rounds=4, strategy=name, quorum=1.0)
    with pytest.raises(FederationError):
        train(job, PreparedSites(change=fails("site-1", (3,))), progress=start(**first))
    assert saved(job).memory
    assert saved(job).memory_saved
    federation, progress = federation_of(job, PreparedSites()), saved(job)
    strategy = STRATEGIES[name].make(job.config)
    restore_memory(name, strategy, progress.memory)
    found = run_rounds(federation, strategy, progress)
    np.testing.assert_array_equal(found.weights["w"], whole.weights["w"])


def test_where_sites_count_by_patients_one_that_gives_none_is_refused(tmp_path):
    patients = {"site-1": 1, "site-2": 3, "site-3": 0}
    sites = PreparedSites(
        change=lambda trained, _: replace(
            trained,
            n_patients=(n := patients[trained.site]),
            annotated=(n,) * len(trained.annotated),
            recorded=(n,) * len(trained.recorded),
        )
    )
    job = prepared_job(tmp_path, rounds=1, weighting="patients")
    found = train(job, sites)
    # Site k adds k to every weight.
    np.testing.assert_allclose(found.weights["w"], (1 * 1 + 3 * 2) / 4)
    assert [(f["site"], "too few patients" in f["reason"]) for f in found.failures] == [
        ("site-3", True)
    ]
