"""What a site does with the weights it is sent, and what it keeps for itself."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file
from support.rules import even_rule
from support.two_sources import two_source_site

from clients import local_evaluation, local_training
from clients.local_evaluation import evaluate_site
from clients.local_training import site_info, train_site
from clients.simulated_sites import open_site
from clients.training_plan import training_plan
from fl.evaluation.decisions.score_histograms import PATIENT
from fl.evaluation.predictions import read_predictions
from fl.training.state_dict import local_entries
from fl.util.errors import DataError
from partitions.splits import TEST, TRAIN, VAL
from server.app import initial_weights


def test_training_changes_nothing_in_the_weights_it_was_sent(make_job):
    job = make_job(2)
    start = initial_weights(job)
    before = {k: v.copy() for k, v in start.items()}
    train_site(open_site(job, 0), job, start, 1)
    assert all(np.array_equal(start[k], before[k]) for k in before)


def test_sites_are_numbered_in_order_of_name_and_hold_their_own_records(make_job):
    job = make_job(3)
    sites = [open_site(job, number) for number in range(3)]
    assert [site.name for site in sites] == ["site-1", "site-2", "site-3"]
    names = [name for site in sites for part in site.splits.values() for name in part.names]
    assert len(set(names)) == len(names) > 15


def test_a_site_counts_the_records_that_an_epoch_takes(make_job):
    job = make_job(2)
    site = open_site(job, 1)
    info = site_info(site, job.config.per_recording)
    assert (info.n_train, info.n_val, info.n_test) == tuple(
        len(np.unique(site.splits[s].patients)) for s in (TRAIN, VAL, TEST)
    )
    trained = train_site(site, job, initial_weights(job), 1)
    assert trained.n_records == info.n_records == len(site.splits[TRAIN])
    assert trained.n_seen == info.n_records * job.config.local_epochs
    assert trained.n_patients == len(set(site.splits[TRAIN].patients.tolist()))
    assert trained.annotated == (trained.n_patients,) * 9


def test_a_site_keeps_its_optimizer_of_the_last_two_rounds_and_goes_on_from_the_last(make_job):
    job = make_job(2, rounds=9)
    site, weights = open_site(job, 0), initial_weights(job)
    for number in (1, 2, 5):
        weights = train_site(site, job, weights, number).weights
    kept = sorted(site.folder.rglob("*.safetensors"))
    assert [path.stem for path in kept] == ["000002", "000005"]
    steps = [load_file(path)["0/step"].item() for path in kept]
    assert steps[1] / steps[0] == 1.5  # three rounds of as many steps against two


@pytest.mark.parametrize(
    ("settings", "kept"),
    [({"rounds": 3}, ["000001", "000002"]), ({"rounds": 3, "optimizer_state": "fresh"}, [])],
)
def test_no_optimizer_is_kept_that_no_round_will_read(make_job, settings, kept):
    job = make_job(2, **settings)
    site, weights = open_site(job, 0), initial_weights(job)
    for number in (1, 2, 3):
        train_site(site, job, weights, number)
    assert sorted(path.stem for path in site.folder.rglob("*.safetensors")) == kept


def test_a_round_done_again_takes_the_state_from_before_it(make_job):
    job = make_job(2)
    site, start = open_site(job, 0), initial_weights(job)
    one = train_site(site, job, start, 1)
    first, again = (train_site(site, job, one.weights, 2).weights for _ in range(2))
    assert all(np.array_equal(first[k], again[k]) for k in first)


def test_fedbn_keeps_the_normalisation_layers_at_the_site(make_job):
    job = make_job(strategy="fedbn")
    site, start = open_site(job, 0), initial_weights(job)
    local = local_entries("fedbn", job.config.model, job.config.task)
    assert local
    assert all("norm" in name or name.rsplit(".", 2)[-2].isdigit() for name in local)
    trained = train_site(site, job, start, 1)
    assert trained.weights.keys() == start.keys() - local
    # What comes back from the server cannot undo them: the next round begins from the site's own.
    spoiled = start | {name: np.full_like(start[name], 1e6) for name in local}
    again = train_site(site, job, spoiled | trained.weights, 2)
    assert all(np.isfinite(v).all() and abs(v).max() < 1e3 for v in again.weights.values())


@pytest.mark.parametrize("split", [VAL, TEST])
def test_fedbn_evaluates_with_the_sites_own_layers_of_that_round(make_job, monkeypatch, split):
    job = make_job(strategy="fedbn")
    site, start = open_site(job, 0), initial_weights(job)
    local = sorted(local_entries("fedbn", job.config.model, job.config.task))
    first = start | train_site(site, job, start, 1).weights
    own = local_training.site_entries_before(site, job, 2)
    train_site(site, job, first, 2)  # a later round, whose layers must not be used
    loaded = {}
    monkeypatch.setattr(
        local_evaluation, "set_weights", lambda network, weights: loaded.update(weights)
    )
    rule = even_rule(site.splits[TEST].task.classes)
    evaluate_site(site, job, first, split, rule, 1)
    assert all(np.array_equal(loaded[name], own[name]) for name in local)
    assert not all(np.array_equal(loaded[name], first[name]) for name in local)


@pytest.mark.parametrize("strategy", ["fedavg", "fedprox", "scaffold"])
def test_other_strategies_share_every_entry(strategy):
    assert local_entries(strategy, "resnet1d", "rhythm") == frozenset()


def test_only_test_is_reported_and_written(make_job):
    job = make_job(2)
    site, weights = open_site(job, 0), initial_weights(job)
    rule = even_rule(site.splits[TEST].task.classes)
    validation = evaluate_site(site, job, weights, VAL, rule, 1)
    assert validation.report is None
    assert not list(site.folder.glob("predictions*"))
    tested = evaluate_site(site, job, weights, TEST, rule, 1)
    assert tested.report.n_records == tested.n_records == len(site.splits[TEST])
    assert tested.by_source == {}
    classes = site.splits[TEST].task.classes
    written = read_predictions(site.folder / "predictions-fedavg.csv", classes)
    assert len(written) == tested.n_records
    assert set(written.site.tolist()) == {"site-1"}


@pytest.mark.parametrize("synced", [True, False])
def test_predictions_wait_for_the_disk_only_where_a_site_does(make_job, monkeypatch, synced):
    job, waited = make_job(2), []
    site = replace(open_site(job, 0), synced=synced)
    monkeypatch.setattr("os.fsync", waited.append)
    rule = even_rule(site.splits[TEST].task.classes)
    evaluate_site(site, job, initial_weights(job), TEST, rule, 1)
    assert bool(waited) == synced
    path = site.folder / "predictions-fedavg.csv"
    assert len(read_predictions(path, site.splits[TEST].task.classes)) == len(site.splits[TEST])


def test_validation_is_counted_for_each_source_of_a_site(shards, tmp_path):
    job, site = two_source_site(shards, tmp_path)
    validation = evaluate_site(site, job, initial_weights(job), VAL, None, 1)
    cohort = site.splits[VAL]
    assert list(validation.by_source) == sorted(set(cohort.sources.tolist()))
    assert len(validation.by_source) == 2
    for source, counted in validation.by_source.items():
        rows = cohort.sources == source
        assert counted.n_patients == len(set(cohort.patients[rows].tolist()))
        shown = counted.scores.patients[:, 0].sum()
        assert shown > 0
        assert 0 < counted.scores.positive.sum() <= PATIENT * shown
    assert validation.n_records == len(cohort)


def test_a_source_with_too_few_records_counts_as_one_without_any(shards, tmp_path):
    job, site = two_source_site(shards, tmp_path)
    sizes = {
        source: int((site.splits[VAL].sources == source).sum())
        for source in set(site.splits[VAL].sources.tolist())
    }
    (few, n_few), (many, n_many) = sorted(sizes.items(), key=lambda item: item[1])
    assert n_few < n_many
    job, site = two_source_site(shards, tmp_path, min_count=n_few + 1)
    validation = evaluate_site(site, job, initial_weights(job), VAL, None, 1)
    assert validation.n_records == n_many
    assert validation.by_source[few].n_patients == 0
    assert not any(counts.any() for counts in vars(validation.by_source[few].scores).values())
    assert validation.by_source[many].n_patients > 0


@pytest.mark.parametrize("min_count", [0, 3])
def test_a_class_that_is_rare_in_a_source_is_not_counted_there(shards, tmp_path, min_count):
    job, site = two_source_site(shards, tmp_path, min_count)
    validation = evaluate_site(site, job, initial_weights(job), VAL, None, 1)
    hidden = 0
    for source, counted in validation.by_source.items():
        part = site.splits[VAL].take(np.flatnonzero(site.splits[VAL].sources == source))
        people = [part.count_patients(part.labels == value) for value in (1, 0)]
        for c, expected in enumerate(zip(*people, strict=True)):
            rare = min(expected) < min_count
            hidden += rare and max(expected) > 0
            sent = [counted.scores.positive[c].sum() > 0, counted.scores.negative[c].sum() > 0]
            assert sent == ([False, False] if rare else [n > 0 for n in expected])
    assert bool(hidden) is (min_count > 0)


def test_a_partition_of_other_data_is_refused(make_job, shards):
    job = make_job(2)
    other = job.model_copy(update={"shards": (str(shards[0]),)})
    with pytest.raises(DataError, match="made from other data"):
        open_site(other, 0)


def test_simulated_recordings_train_and_are_counted_nowhere(make_job):
    plain, job = make_job(2), make_job(2, "simulated", simulated_rare=5)
    site, weights = open_site(job, 0), initial_weights(job)
    one = train_site(open_site(plain, 0), plain, weights, 1)
    two = train_site(site, job, weights, 1)
    assert two.n_seen == one.n_seen + 5 * job.config.local_epochs
    assert any(not np.array_equal(two.weights[name], one.weights[name]) for name in weights)
    for counted in ("n_records", "n_patients", "annotated", "recorded"):
        assert getattr(two, counted) == getattr(one, counted)
    assert site_info(site, 0) == site_info(open_site(plain, 0), 0)
    for split in (TRAIN, VAL, TEST):
        assert not [name for name in site.splits[split].sources if "simulated" in name]
    evaluated = evaluate_site(site, job, two.weights, VAL, None, 1)
    assert set(evaluated.by_source) == {"synthetic-2lead"}
    again = train_site(open_site(make_job(2, "again", simulated_rare=5), 0), job, weights, 1)
    assert all(np.array_equal(again.weights[name], two.weights[name]) for name in weights)


def test_pooled_training_has_as_many_simulated_recordings_as_all_sites_together(make_job):
    config = make_job(3, simulated_rare=5, dropout=0.3).config
    assert training_plan(config, "site-1", 1).simulated == 5
    assert training_plan(config, "pooled", 1).simulated == 15
    assert training_plan(config, "pooled", 1).dropout == 0.3
