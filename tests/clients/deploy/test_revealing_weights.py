"""What --min-count withholds: attacks that computed it from one answer, and what stops them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from clients.deploy.site_policy import revealing_weights
from clients.deploy.site_policy.policy_file import SitePolicy
from clients.deploy.site_policy.request_check import takes_gradient_steps
from clients.deploy.site_policy.revealing_weights import require_varied_answers
from clients.local_evaluation import evaluate_site
from clients.local_training import site_info, train_site
from clients.simulated_sites import open_site
from fl.config.run_config import RunConfig
from fl.ecg.tasks import RHYTHM, TASKS
from fl.models import MODELS, parts_of
from fl.privacy.egress_policy import PolicyRefusal
from fl.training.losses import loss_to_report, task_loss
from partitions.splits import TRAIN
from server.app import initial_weights

MANY = 100  # more patients than a site of the tests has: every class is withheld


@pytest.fixture
def asked(make_job):
    """One plain gradient step on all training records at once, as the attack asks for."""
    given = {"optimizer": "sgd", "schedule": "constant", "lr": 0.1, "weight_decay": 0.0}
    return make_job(2, batch_size=512, local_epochs=1, augment="none", rounds=1, **given)


def withholding(job):
    """A site that withholds every count of a class."""
    return replace(open_site(job, 0), min_count=MANY)


def with_head(job, weight=0.0, bias=0.0):
    """The weights that a coordinator sends, with a head of its own choice."""
    start = initial_weights(job)
    head = parts_of(job.config.model, RHYTHM).head
    for name in head:
        value = bias if start[name].ndim == 1 else weight
        start[name] = np.full_like(start[name], value)
    return start


def class_counts(site):
    return (site.splits[TRAIN].labels == 1).sum(axis=0)


def test_one_gradient_step_of_a_zero_head_tells_every_class_count_exactly(asked):
    """The attack: a class's bias moves by the learning rate times its share minus a half."""
    site, start = withholding(asked), with_head(asked)
    (bias,) = [n for n in parts_of(asked.config.model, RHYTHM).head if start[n].ndim == 1]
    trained = train_site(site, asked, start, 1)
    assert trained.annotated == (0,) * 9  # withheld, and yet:
    n = len(site.splits[TRAIN])
    known = (site.splits[TRAIN].labels >= 0).sum(axis=0)
    moved = trained.weights[bias].astype(np.float64) / asked.config.lr
    found = np.rint(moved * n * 9 + known / 2).astype(int)
    np.testing.assert_array_equal(found, class_counts(site))
    assert class_counts(site).sum() > 0


def test_a_hospital_refuses_gradient_steps_and_weights_that_answer_alike(asked):
    assert takes_gradient_steps(asked.config)
    assert not SitePolicy(tasks=["rhythm"]).gradient_steps
    assert takes_gradient_steps(RunConfig(strategy="scaffold"))
    assert not takes_gradient_steps(RunConfig())
    site = withholding(asked)
    with pytest.raises(PolicyRefusal, match=r"answer alike to .* recordings") as refused:
        require_varied_answers(site, asked, with_head(asked), 1)
    assert refused.value.code == "revealing-weights"
    require_varied_answers(site, asked, initial_weights(asked), 1)


@pytest.mark.parametrize("bias", [-2.0, 0.3, 1000.0])
def test_a_head_of_biases_alone_is_refused_whatever_they_are(asked, bias):
    with pytest.raises(PolicyRefusal):
        require_varied_answers(withholding(asked), asked, with_head(asked, bias=bias), 1)


def test_one_flat_class_is_enough_and_so_are_weights_that_are_no_numbers(asked):
    site, start = withholding(asked), initial_weights(asked)
    (weight,) = [n for n in parts_of(asked.config.model, RHYTHM).head if start[n].ndim > 1]
    one = start | {weight: start[weight].copy()}
    one[weight][3] = 0
    with pytest.raises(PolicyRefusal, match=r"IAVB|RBBB|LBBB|AF"):
        require_varied_answers(site, asked, one, 1)
    with pytest.raises(PolicyRefusal):
        require_varied_answers(
            site, asked, start | {weight: np.full_like(start[weight], np.nan)}, 1
        )


def test_a_dead_network_before_an_honest_head_is_refused(asked):
    start = initial_weights(asked)
    head = parts_of(asked.config.model, RHYTHM).head
    dead = {k: v if k in head else np.zeros_like(v) for k, v in start.items()}
    with pytest.raises(PolicyRefusal):
        require_varied_answers(withholding(asked), asked, dead, 1)


@pytest.mark.parametrize("model", ["resnet1d", "cnn_simple", "lstm", "cnn_lstm"])
def test_weights_drawn_at_random_are_far_from_flat(make_job, model):
    job = make_job(2, model=model)
    assert model in MODELS
    require_varied_answers(open_site(job, 0), job, initial_weights(job), 1)


def test_no_loss_tells_how_many_show_a_class_that_is_withheld(asked):
    """A bias of 50 adds 50 to the loss for each recording that does not show the class."""
    site = withholding(asked)
    few = replace(site, min_count=0)
    asked = asked.model_copy(update={"config": asked.config.model_copy(update={"lr": 1e-30})})
    start = with_head(asked, bias=50.0)
    sent = train_site(few, asked, start, 1).loss_sum
    assert sent > 100
    assert train_site(site, asked, start, 1).loss_sum == 0.0
    # Only those classes are withheld that few patients show.
    one = replace(site, min_count=1)
    shown = few.splits[TRAIN].without_rare(1).masked_classes
    assert shown
    start = with_head(asked)
    (bias,) = [n for n in parts_of(asked.config.model, RHYTHM).head if start[n].ndim == 1]
    reported = []
    for value in (0.0, 12.0):
        start[bias][list(shown)] = value
        reported.append(evaluate_site(one, asked, start, TRAIN, None, 1).loss_sum)
    assert reported[0] == reported[1] > 0


@pytest.mark.parametrize("task", ["rhythm", "beat"])
def test_the_reported_loss_is_the_loss_without_the_withheld_classes(task):
    found = TASKS[task]
    classes = len(found.classes)
    logits = torch.linspace(-2, 2, 6 * classes).reshape(6, classes)
    labels = torch.eye(classes)[torch.tensor([0, 1, 0, 2, 1, 0])]
    assert loss_to_report(found, logits, labels, ()) == task_loss(found, logits, labels)
    changed = logits.clone()
    if found.exclusive:
        changed[3] += torch.arange(classes)  # the one example of class 2
    else:
        changed[:, 2] += 7
    one, other = (loss_to_report(found, z, labels, (2,)) for z in (logits, changed))
    assert torch.equal(one, other)
    assert not torch.equal(one, task_loss(found, logits, labels))


def test_epochs_that_are_drawn_by_class_do_not_tell_how_long_they_were(make_job):
    job = make_job(2, imbalance="oversampled", local_epochs=1)
    site = open_site(job, 0)
    start = initial_weights(job)
    plain = train_site(site, job, start, 1)
    sent = train_site(replace(site, min_count=1), job, start, 1)
    assert plain.n_seen > plain.n_records
    assert sent.n_seen == sent.n_records
    assert np.isclose(sent.loss_sum / sent.n_seen, plain.loss_sum / plain.n_seen, rtol=0.5)
    assert all(np.array_equal(sent.weights[k], plain.weights[k]) for k in plain.weights)


def test_first_words_count_patients_and_name_no_number_of_a_few(make_job):
    job = make_job(2)
    site = open_site(job, 0)
    n_train = len(np.unique(site.splits[TRAIN].patients))
    assert site_info(site, 0).n_train == n_train <= len(site.splits[TRAIN])
    assert site_info(replace(site, min_count=n_train), 0).n_train == n_train
    few = site_info(replace(site, min_count=n_train + 1), 0)
    assert (few.n_train, few.n_val, few.n_test, few.n_records) == (0, 0, 0, 0)


def test_the_check_looks_at_few_recordings(asked, monkeypatch):
    seen = []
    real = revealing_weights.crop_batches
    monkeypatch.setattr(
        revealing_weights,
        "crop_batches",
        lambda network, part, *rest: seen.append(len(part)) or real(network, part, *rest),
    )
    require_varied_answers(open_site(asked, 0), asked, initial_weights(asked), 1)
    assert seen == [min(32, len(open_site(asked, 0).splits[TRAIN]))]
