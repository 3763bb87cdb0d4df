"""Fine-tuning is kept only if the site's validation is better."""

import numpy as np
import pytest
import torch
from support.made_cohorts import made_cohort
from support.untrained_sites import GivenTraining, job_of, nothing_of, site_of

from clients.personalization import finetune as module
from clients.personalization.finetune import finetune
from fl.training.state_dict import get_weights

COHORT = made_cohort(["a", "b"], [[0, 1, 2, 3, 4, 5, 6, 7, 8]] * 2)  # every class is shown


@pytest.fixture
def training(monkeypatch):
    given = GivenTraining()
    monkeypatch.setattr(module, "fit", given)
    return given


def validation_finds(monkeypatch, *probabilities):
    """Each prediction finds the next of these probabilities, for every example and class."""
    left = list(probabilities)
    monkeypatch.setattr(
        module,
        "predict",
        lambda network, cohort, device: np.full((len(cohort), 9), left.pop(0)),
    )
    return left


def finetuned(tmp_path, **splits):
    """The steps, whether the network is the site's own, and by how much the weights changed."""
    network = torch.nn.Linear(1, 1)
    before = get_weights(network)["weight"]
    job = job_of(tmp_path, "finetune", finetune_epochs=4, lr=0.02, local_epochs=2)
    own = finetune(network, site_of(tmp_path, COHORT, **splits), job)
    assert own.network is network
    return own.steps, own.changed, (get_weights(network)["weight"] - before).item()


@pytest.mark.parametrize(
    ("before", "after", "change"), [(0.5, 0.6, 1), (0.6, 0.5, 0), (0.5, 0.5, 0)]
)
def test_fine_tuning_is_kept_only_if_validation_is_better(
    tmp_path, training, monkeypatch, before, after, change
):
    left = validation_finds(monkeypatch, before, after)
    assert finetuned(tmp_path) == (3, bool(change), pytest.approx(change))
    assert left == []


def test_fine_tuning_has_its_own_epochs_and_a_constant_tenth_of_the_rate(
    tmp_path, training, monkeypatch
):
    validation_finds(monkeypatch, 0.5, 0.6)
    finetuned(tmp_path)
    (call,) = training.calls
    assert call["cohort"] is COHORT
    assert call["plan"].epochs == 4
    assert call["plan"].lr == pytest.approx(0.002)
    assert call["plan"].constant
    assert call["plan"].round == 4  # after the three of the federation
    assert call["state"] is None


def test_a_site_without_training_records_takes_no_step(tmp_path, training):
    assert finetuned(tmp_path, train=nothing_of(COHORT)) == (0, False, 0)
    assert training.calls == []


def test_a_site_without_validation_records_keeps_the_global_weights(tmp_path, training):
    assert finetuned(tmp_path, val=nothing_of(COHORT)) == (3, False, 0)


def test_one_training_record_is_enough(tmp_path, training, monkeypatch):
    validation_finds(monkeypatch, 0.5, 0.6)
    assert finetuned(tmp_path, train=COHORT.take(np.arange(1))) == (3, True, pytest.approx(1))
