"""What a site does after the last round of `personal`: two trainings, and which model it tests."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.made_cohorts import made_cohort
from support.rules import even_rule
from support.untrained_sites import job_of, nothing_of, site_of

from clients import local_training, shared_evaluation
from clients.local_evaluation import site_test
from clients.local_training import train_site
from clients.personalization import own_training
from clients.personalization import personal as module
from clients.personalization.mixing_weights import CropLogits
from clients.personalization.own_training import OwnTraining, kept_training, train_alone
from clients.personalization.personal import personal, trained_further
from fl.ecg.tasks import RHYTHM
from fl.models.mixture import MixtureOfNetworks
from fl.training.frozen import network_to_train, trained_parameters
from fl.training.loop import FitResult, fit
from fl.training.state_dict import get_weights
from server.app import initial_weights

COHORT = made_cohort("abcdef", [[0], [1], [2], [0], [1], [2]])


class WatchedTraining:
    """Stands for `fit`: adds one to what is trained, and keeps what it was called with."""

    def __init__(self):
        self.calls = []

    def __call__(self, network, cohort, plan, state=None, pull=0.0, anchor=None):
        names = set(trained_parameters(network))
        anchored = {} if anchor is None else {k: v.clone() for k, v in anchor.items()}
        self.calls.append({"plan": plan, "names": names, "pull": pull, "anchor": anchored})
        with torch.no_grad():
            for values in trained_parameters(network).values():
                values += 1
        return FitResult(loss_sum=0, n_seen=len(cohort), steps=5, lr_sum=0, state={})


@pytest.fixture
def training(monkeypatch):
    given = WatchedTraining()
    monkeypatch.setattr(module, "fit", given)
    return given


def network(freeze="none"):
    torch.manual_seed(0)
    return network_to_train("resnet1d", "rhythm", freeze)


def test_the_last_layers_are_trained_first_and_then_all(tmp_path, training):
    job, sent = job_of(tmp_path, "personal", lr=0.02), network()
    before = get_weights(sent)
    further, steps = trained_further(sent, site_of(tmp_path, COHORT), job.config)
    first, second = training.calls
    assert steps == 10
    assert {name.split(".")[0] for name in first["names"]} <= {"dense", "head", "feature_branch"}
    assert first["names"] < second["names"] == set(trained_parameters(sent))
    assert [call["plan"].epochs for call in training.calls] == [2, 4]
    assert [call["plan"].round for call in training.calls] == [4, 5]  # after the federation's three
    assert all(call["plan"].lr == pytest.approx(0.005) for call in training.calls)
    assert all(call["plan"].constant and call["pull"] == 0.1 for call in training.calls)
    for call in training.calls:  # both are pulled to what was sent, which stays as it was
        np.testing.assert_array_equal(call["anchor"]["head.bias"].numpy(), before["head.bias"])
    np.testing.assert_array_equal(get_weights(sent)["head.bias"], before["head.bias"])
    moved = get_weights(further)["head.bias"] - before["head.bias"]
    np.testing.assert_allclose(moved, 2, rtol=1e-6)


def test_one_epoch_trains_all_layers(tmp_path, training):
    job = job_of(tmp_path, "personal", personal_epochs=1)
    trained_further(network(), site_of(tmp_path, COHORT), job.config)
    (call,) = training.calls
    assert call["names"] == set(trained_parameters(network()))


def test_a_network_that_declares_no_last_layers_is_trained_whole(tmp_path, training):
    plain = torch.nn.Sequential(torch.nn.Linear(2, 2))
    job = job_of(tmp_path, "personal")
    trained_further(plain, site_of(tmp_path, COHORT), job.config)
    (call,) = training.calls
    assert call["plan"].epochs == 6


def test_frozen_layers_stay_frozen(tmp_path, training):
    job = job_of(tmp_path, "personal", freeze="features", init_from="saved.safetensors")
    sent = network("features")
    before = get_weights(sent)
    further, _ = trained_further(sent, site_of(tmp_path, COHORT), job.config)
    moved = {n for n, v in get_weights(further).items() if not np.array_equal(v, before[n])}
    assert moved <= set(trained_parameters(sent))
    assert moved


def test_the_pull_goes_to_the_weights_that_are_named(few, tmp_path):
    given = network()
    target = {name: value + 1 for name, value in given.state_dict().items()}
    site = few.take(np.arange(4))
    config = replace(
        module.training_plan(job_of(tmp_path).config, "a", 1), lr=1e-9, constant=True, epochs=1
    )
    start = get_weights(given)
    fit(given, site, config, pull=1e9, anchor=target)
    np.testing.assert_allclose(get_weights(given)["head.bias"], start["head.bias"] + 1, atol=1e-5)


def after_training(tmp_path, monkeypatch, right, **splits):
    """`personal` with trainings that are given; `right` answers validation well."""
    job, sent = job_of(tmp_path, "personal"), network()
    site = site_of(tmp_path, COHORT, **splits)
    alone = OwnTraining(weights=get_weights(sent), steps=7)
    monkeypatch.setattr(module, "trained_further", lambda net, *_: (network(), 4))
    monkeypatch.setattr(module, "train_alone", lambda *_: alone)

    def logits(networks, cohort, device):
        shape = (3, len(cohort), len(RHYTHM.classes))
        found = np.zeros(shape)
        found[right] = 4 * (cohort.labels - 0.5)
        return CropLogits(logits=found, example=np.arange(len(cohort)))

    monkeypatch.setattr(module, "crop_logits", logits)
    return sent, personal(sent, site, job)


def test_a_mixture_that_answers_better_is_tested(tmp_path, monkeypatch):
    sent, own = after_training(tmp_path, monkeypatch, right=2)
    assert own.changed
    assert own.steps == 11
    assert isinstance(own.network, MixtureOfNetworks)
    assert own.network.shares.argmax() == 2
    assert own.validated.shape == COHORT.labels.shape
    assert own.network.networks[0] is not sent  # the next request loads other weights into that


def test_a_mixture_that_answers_worse_is_not(tmp_path, monkeypatch):
    sent, own = after_training(tmp_path, monkeypatch, right=0)
    assert (own.network, own.changed, own.validated, own.steps) == (sent, False, None, 11)


def test_without_validation_records_the_global_model_stays(tmp_path, monkeypatch):
    sent, own = after_training(tmp_path, monkeypatch, right=2, val=nothing_of(COHORT))
    assert (own.network, own.changed) == (sent, False)


def test_a_site_without_training_records_takes_no_step(tmp_path):
    sent = network()
    own = personal(
        sent, site_of(tmp_path, COHORT, train=nothing_of(COHORT)), job_of(tmp_path, "personal")
    )
    assert (own.network, own.changed, own.steps) == (sent, False, 0)


@pytest.fixture
def alone(monkeypatch):
    """Trainings alone are given: the second of three rounds is the best one."""
    given = WatchedTraining()
    monkeypatch.setattr(own_training, "fit", given)
    right = iter([0.6, 0.9, 0.7, *[0.5] * 9])

    def predict(network, cohort, device):
        p = next(right)
        return np.where(cohort.labels == 1, p, 1 - p)

    monkeypatch.setattr(own_training, "predict", predict)
    return given


def test_the_best_round_of_a_site_alone_is_chosen_by_its_validation(tmp_path, alone):
    job = job_of(tmp_path, "personal")
    start = initial_weights(job)
    found = train_alone(site_of(tmp_path, COHORT), job, start)
    np.testing.assert_allclose(found.weights["head.bias"], start["head.bias"] + 2, rtol=1e-6)
    assert found.steps == 15
    assert [call["plan"].round for call in alone.calls] == [1, 2, 3]
    assert not any(call["plan"].constant for call in alone.calls)


def test_a_site_alone_stops_as_the_run_says(tmp_path, alone):
    job = job_of(tmp_path, "personal", patience=1, rounds=9)
    train_alone(site_of(tmp_path, COHORT), job, initial_weights(job))
    assert len(alone.calls) == 3


def test_a_site_trains_alone_once_in_a_run(tmp_path, alone):
    job, site = job_of(tmp_path, "personal"), site_of(tmp_path, COHORT)
    first = train_alone(site, job, initial_weights(job))
    second = train_alone(site, job, initial_weights(job))
    assert len(alone.calls) == 3
    assert second.steps == first.steps
    np.testing.assert_array_equal(second.weights["head.bias"], first.weights["head.bias"])


def test_frozen_entries_of_a_site_alone_are_those_that_were_sent(tmp_path, alone):
    job = job_of(tmp_path, "personal", freeze="features", init_from="saved.safetensors")
    sent = {name: value + 3 for name, value in get_weights(network()).items()}
    found = train_alone(site_of(tmp_path, COHORT), job, sent)
    trained = set(trained_parameters(network("features")))
    for name, value in sent.items():
        if name not in trained:
            np.testing.assert_array_equal(found.weights[name], value)


def test_what_local_training_of_the_run_found_is_kept(tmp_path, monkeypatch):
    job = job_of(tmp_path, "fedavg").model_copy(update={"strategy": "local"})
    site = site_of(tmp_path, COHORT)
    given = FitResult(loss_sum=1, n_seen=6, steps=4, lr_sum=0, state={})
    monkeypatch.setattr(local_training, "fit", lambda *_, **__: given)
    monkeypatch.setattr(
        shared_evaluation, "predict", lambda network, cohort, device: np.full((len(cohort), 9), 0.5)
    )
    weights = initial_weights(job)
    for number in (1, 2, 2, 3):  # a resumed run does a round again
        train_site(site, job, weights, number)
    site_test(site, job, weights, even_rule(RHYTHM.classes), 2)
    found = kept_training(site)
    assert found.steps == 12
    np.testing.assert_array_equal(found.weights["head.bias"], weights["head.bias"])


def test_no_other_training_is_kept_as_the_sites_own(tmp_path, monkeypatch):
    job, site = job_of(tmp_path), site_of(tmp_path, COHORT)
    monkeypatch.setattr(
        shared_evaluation, "predict", lambda network, cohort, device: np.full((len(cohort), 9), 0.5)
    )
    site_test(site, job, initial_weights(job), even_rule(RHYTHM.classes), 2)
    assert kept_training(site) is None
