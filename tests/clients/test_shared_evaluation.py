"""Small sites of one call share batches and measures, and every site is answered as if alone."""

import logging

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.jobs import job_over
from support.rounds import digest, history, read_table, run
from support.several_sites_grid import SeveralSitesGrid

from clients import shared_evaluation
from clients.shared_evaluation import BATCH, MOST_ROWS, first_rows, places_together
from clients.simulated_sites import sites_of
from fl.data.cohort import Cohort
from fl.messages import job as job_module
from fl.models import build_network
from fl.training.loop import predict
from partitions.splits import TEST, TRAIN, VAL

SITES = 6


@pytest.fixture
def many(monkeypatch):
    """Six sites are many."""
    monkeypatch.setattr(job_module, "FEW_SITES", 2)


@pytest.fixture
def together(monkeypatch):
    """The splits of each call whose sites were predicted together, and how many these were."""
    calls = []
    original = shared_evaluation._predict_sites

    def predict_sites(job, weights, split, sites):
        calls.append((split, len(sites)))
        return original(job, weights, split, sites)

    monkeypatch.setattr(shared_evaluation, "_predict_sites", predict_sites)
    return calls


def left_behind(job, **named):
    """A training's weights, tables, predictions and summary."""
    watching, summary = run(job, **named)
    assert watching.failed == []
    return digest(job), history(job), read_table(job, "predictions.csv"), summary.to_json()


@pytest.mark.parametrize(
    ("settings", "shared"),
    [
        ({}, {VAL, TEST}),
        ({"strategy": "scaffold"}, {VAL, TEST}),
        ({"secure_aggregation": True}, {VAL, TEST}),
        ({"skew": "leads"}, {VAL, TEST}),  # each site has a recorder of its own
        ({"strategy": "finetune"}, {VAL}),  # each site may test a model of its own
        ({"strategy": "fedbn"}, set()),  # each site predicts with layers of its own
    ],
)
def test_sites_of_a_call_are_answered_with_the_bits_of_each_alone(
    make_job, many, together, settings, shared
):
    alone = left_behind(make_job(SITES, name="alone", **settings))
    assert together == []
    several = left_behind(make_job(SITES, name="several", **settings), grid=SeveralSitesGrid)
    assert several == alone
    assert {split for split, _ in together} == shared
    assert all(count > 1 for _, count in together)


def test_few_sites_share_nothing(make_job, together):
    run(make_job(SITES), grid=SeveralSitesGrid)
    assert together == []


def test_networks_that_read_rows_of_neighbours_share_no_batches(beats, tmp_path, many):
    for model, shares in (("beat_gru", False), ("beat_cnn", True)):
        job = job_over(beats, tmp_path / model, 3, task="beat", model=model)
        small = {s for s, site in sites_of(job).items() if 0 < len(site.splits[VAL]) <= MOST_ROWS}
        assert bool(first_rows(job, VAL)) is (shares and bool(small))


def test_a_site_with_many_records_has_batches_of_its_own(few, tmp_path, many, monkeypatch):
    job = job_over(few, tmp_path / "run", 3)
    counts = {
        name: shared_evaluation.n_crops(site.splits[TRAIN]) for name, site in sites_of(job).items()
    }
    monkeypatch.setattr(shared_evaluation, "MOST_ROWS", sorted(counts.values())[1])
    shared_evaluation._first_rows.cache_clear()
    small = {name for name, n in counts.items() if n <= sorted(counts.values())[1]}
    assert first_rows(job, TRAIN).keys() == small
    shared_evaluation._first_rows.cache_clear()


def test_where_sites_cannot_be_predicted_together_each_predicts_by_itself(
    make_job, many, monkeypatch, caplog
):
    alone = left_behind(make_job(SITES, name="alone"))

    def broken(*_):
        raise OSError("a shard cannot be read")

    monkeypatch.setattr(shared_evaluation, "_predict_sites", broken)
    with caplog.at_level(logging.DEBUG, "heartfed"):
        assert left_behind(make_job(SITES, name="several"), grid=SeveralSitesGrid) == alone
    assert "sites evaluate one by one" in caplog.text


rows = st.integers(1, MOST_ROWS).flatmap(
    lambda count: st.tuples(st.integers(0, BATCH - count), st.just(count))
)


@given(st.lists(rows, min_size=1, max_size=30))
def test_every_site_is_at_its_own_rows_of_a_batch_and_no_two_share_one(several):
    places = places_together(several)
    assert len(set(places.tolist())) == len(places) == sum(count for _, count in several)
    parts = np.split(places, np.cumsum([count for _, count in several])[:-1])
    for (first, count), part in zip(several, parts, strict=True):
        assert (part % BATCH).tolist() == list(range(first, first + count))
        assert len(set((part // BATCH).tolist())) == 1
    assert places.max() < BATCH * len(several)


@pytest.mark.parametrize("model", ["reslstm_temporalse", "cnn1d", "resnet1d", "lstm"])
def test_at_the_same_rows_an_example_has_the_same_bits_whatever_else_is_in_the_batch(few, model):
    torch.manual_seed(0)
    network = build_network(model, few.task)
    one, others = few.take(np.arange(2, 5)), few.take(np.arange(7, 19))
    place = 9 + np.arange(shared_evaluation.n_crops(one))
    alone = predict(network, one, batch_size=BATCH, places=place)
    n_others = shared_evaluation.n_crops(others)
    joined = Cohort.joined([others, one])
    together = np.concatenate([BATCH + np.arange(n_others) % BATCH, place])
    assert n_others <= BATCH
    found = predict(network, joined, batch_size=BATCH, places=together)
    assert np.array_equal(found[len(others) :], alone)
    np.testing.assert_allclose(alone, predict(network, one), atol=1e-5)
