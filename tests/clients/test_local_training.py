"""What a site does with the weights it is sent, and what it keeps for itself."""

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from clients import local_objectives, local_training
from clients.local_objectives import proximal_penalty
from clients.local_training import evaluate_site, site_info, train_site
from clients.simulated_sites import open_site
from fl.evaluation.predictions import read_predictions
from fl.util.errors import DataError
from partitions.splits import TEST, TRAIN, VAL
from server.app import initial_weights


@pytest.mark.parametrize("start", [-2.0, 3.0])  # either side of the global weight
def test_proximal_penalty_pulls_towards_the_global_weight(start):
    local, anchor = torch.tensor([start], requires_grad=True), torch.tensor([0.5])
    proximal_penalty([local], [anchor], mu=0.4).backward()
    assert local.grad.item() == pytest.approx(0.4 * (start - 0.5))


def test_proximal_penalty_is_half_mu_times_the_squared_distance_over_all_layers():
    local = [torch.tensor([1.0, 2.0]), torch.tensor([[3.0]])]
    anchor = [torch.zeros(2), torch.zeros(1, 1)]
    assert proximal_penalty(local, anchor, mu=0.5).item() == pytest.approx(0.25 * 14)
    assert proximal_penalty(local, local, mu=0.5).item() == 0


def test_proximal_penalty_refuses_networks_of_different_size():
    with pytest.raises(ValueError, match="shorter"):
        proximal_penalty([torch.ones(1)] * 2, [torch.ones(1)], mu=1)


def distance(one, other):
    return sum(float(((one[k] - other[k]) ** 2).sum()) for k in one) ** 0.5


def visit(make_job, name, mu, **settings):
    job = make_job(2, name=name, **settings)
    start = initial_weights(job)
    return start, train_site(open_site(job, 0), job, start, 1, mu, {})


def test_a_large_mu_keeps_a_site_near_the_global_weights(make_job):
    moved = []
    for mu in (0.0, 1.0, 100.0):
        start, trained = visit(make_job, f"mu-{mu:g}", mu, batch_size=4, local_epochs=3)
        moved.append(distance(trained.weights, start))
    assert moved[0] > moved[1] > moved[2]
    assert moved[2] < moved[0] / 2


def test_the_penalty_is_there_on_every_batch(make_job, monkeypatch):
    seen = []

    def counted(local, anchor, mu):
        term = proximal_penalty(local, anchor, mu)
        seen.append(term.item())
        return term

    monkeypatch.setattr(local_objectives, "proximal_penalty", counted)
    _, trained = visit(make_job, "counted", 1.0, batch_size=2, local_epochs=2)
    assert len(seen) == trained.steps > 4
    assert seen[0] == 0  # at the global weights themselves
    assert min(seen[1:]) > 0


def test_mu_of_zero_is_no_penalty(make_job, monkeypatch):
    _, plain = visit(make_job, "plain", 0.0)
    nothing = lambda net: 0 * sum(p.sum() for p in net.parameters())  # noqa: E731
    monkeypatch.setattr(local_training, "objective_penalty", lambda *given: nothing)
    _, zero = visit(make_job, "zero", 0.0)
    assert all(np.array_equal(plain.weights[k], zero.weights[k]) for k in plain.weights)


def test_training_changes_nothing_in_the_weights_it_was_sent(make_job):
    job = make_job(2)
    start = initial_weights(job)
    before = {k: v.copy() for k, v in start.items()}
    train_site(open_site(job, 0), job, start, 1, 0.0, {})
    assert all(np.array_equal(start[k], before[k]) for k in before)


def test_sites_are_numbered_in_order_of_name_and_hold_their_own_records(make_job):
    job = make_job(3)
    sites = [open_site(job, number) for number in range(3)]
    assert [site.name for site in sites] == ["site-1", "site-2", "site-3"]
    names = [name for site in sites for part in site.splits.values() for name in part.names]
    assert len(set(names)) == len(names) > 15


def test_a_visit_counts_the_records_that_an_epoch_takes(make_job):
    job = make_job(2)
    site = open_site(job, 1)
    output = site_info(site)
    assert (output.n_train, output.n_val, output.n_test) == tuple(
        len(site.splits[s]) for s in (TRAIN, VAL, TEST)
    )
    trained = train_site(site, job, initial_weights(job), 1, 0.0, {})
    assert trained.n_records == output.n_train
    assert trained.n_seen == output.n_train * job.config.local_epochs
    assert trained.annotated == (output.n_train,) * 9


def test_a_site_keeps_its_optimizer_of_the_last_two_rounds_and_takes_up_the_last(make_job):
    job = make_job(2, rounds=9)
    site, weights = open_site(job, 0), initial_weights(job)
    for number in (1, 2, 5):
        weights = train_site(site, job, weights, number, 0.0, {}).weights
    kept = sorted(site.folder.rglob("*.safetensors"))
    assert [path.stem for path in kept] == ["000002", "000005"]
    steps = [load_file(path)["0/step"].item() for path in kept]
    assert steps[1] / steps[0] == 1.5  # three visits of as many steps against two


@pytest.mark.parametrize(
    ("settings", "kept"),
    [({"rounds": 3}, ["000001", "000002"]), ({"rounds": 3, "optimizer_state": "fresh"}, [])],
)
def test_no_optimizer_is_kept_for_nobody(make_job, settings, kept):
    job = make_job(2, **settings)
    site, weights = open_site(job, 0), initial_weights(job)
    for number in (1, 2, 3):
        train_site(site, job, weights, number, 0.0, {})
    assert sorted(path.stem for path in site.folder.rglob("*.safetensors")) == kept


def test_a_round_done_again_takes_the_state_from_before_it(make_job):
    job = make_job(2)
    site, start = open_site(job, 0), initial_weights(job)
    one = train_site(site, job, start, 1, 0.0, {})
    first, again = (train_site(site, job, one.weights, 2, 0.0, {}).weights for _ in range(2))
    assert all(np.array_equal(first[k], again[k]) for k in first)


def test_only_test_is_reported_and_written(make_job):
    job = make_job(2)
    site, weights = open_site(job, 0), initial_weights(job)
    thresholds = {"pooled": dict.fromkeys(site.splits[TEST].task.classes, 0.5)}
    assert evaluate_site(site, job, weights, VAL, thresholds, 1).report is None
    assert not list(site.folder.glob("predictions*"))
    found = evaluate_site(site, job, weights, TEST, thresholds, 1)
    assert found.report.n_records == found.n_records == len(site.splits[TEST])
    classes = site.splits[TEST].task.classes
    written = read_predictions(site.folder / "predictions-fedavg.csv", classes)
    assert len(written) == found.n_records
    assert set(written.site.tolist()) == {"site-1"}


def test_a_partition_of_other_data_is_refused(make_job, shards):
    job = make_job(2)
    other = job.model_copy(update={"shards": (str(shards[0]),)})
    with pytest.raises(DataError, match="made from other data"):
        open_site(other, 0)
