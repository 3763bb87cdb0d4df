"""A site's own head: what is chosen from, what stays, and that patients are kept apart."""

import numpy as np
import pytest
import torch
from support.untrained_sites import job_of, nothing_of
from torch import nn

from clients.personalization import map_head as module
from clients.personalization.head_inputs import head_inputs
from clients.personalization.map_head import FOLDS, MOST_EXAMPLES, map_head, patient_loss
from clients.simulated_sites import Site
from fl.ecg.tasks import BEAT, RHYTHM
from fl.models import MODELS, build_network, check_model
from fl.training.loop import predict
from fl.training.state_dict import get_weights
from fl.util.errors import ConfigError
from partitions.splits import TEST, TRAIN, VAL


def site_over(cohort, folder):
    """Every fourth patient validates, the next one tests, the others train."""
    names = np.unique(cohort.patients)
    number = np.searchsorted(names, cohort.patients) % 4
    rows = {TRAIN: number < 2, VAL: number == 2, TEST: number == 3}
    splits = {name: cohort.take(np.flatnonzero(of)) for name, of in rows.items()}
    return Site(name="site-1", splits=splits, folder=folder / "site-1")


def fresh(model, task, seed=0):
    torch.manual_seed(seed)
    return build_network(model, task)


def accepted(name, task):
    try:
        check_model(name, task)
    except ConfigError:
        return False
    return True


PAIRS = [
    (model, data)
    for data, task in (("few", RHYTHM), ("beats", BEAT))
    for model in MODELS
    if not model.endswith("_large") and accepted(model, task)
]


@pytest.mark.parametrize(("model", "data"), PAIRS)
def test_every_network_of_the_table_has_a_head_that_can_be_fitted(model, data, request):
    cohort = request.getfixturevalue(data)
    network = fresh(model, cohort.task)
    cohort = cohort.take(np.flatnonzero(cohort.patients == cohort.patients[0]))
    read = head_inputs(network, cohort)
    assert read is not None
    assert set(read.example.tolist()) == set(range(len(cohort)))
    assert read.inputs.shape == (len(read.example), network.head.in_features)


class Bare(nn.Module):
    """A network without a head."""

    def __init__(self, classes, rescaled=False):
        super().__init__()
        self.last = nn.Linear(1, classes)
        if rescaled:
            self.head = nn.Linear(1, classes)
        self.rescaled = rescaled

    def forward(self, signal, lead_mask, features):
        given = signal.mean(dim=(1, 2))[:, None]
        return self.head(given) * 2 if self.rescaled else self.last(given)


@pytest.mark.parametrize("rescaled", [False, True])
def test_a_network_without_a_head_that_stands_last_is_tested_as_it_was_sent(
    few, tmp_path, rescaled
):
    network = Bare(len(few.task.classes), rescaled)
    before = get_weights(network)
    own = map_head(network, site_over(few, tmp_path), job_of(tmp_path))
    assert (own.network, own.changed) == (network, False)
    assert own.note == module.NO_HEAD
    assert all(np.array_equal(v, before[k]) for k, v in get_weights(network).items())


@pytest.mark.parametrize("data", [pytest.param("cohort", marks=pytest.mark.slow), "beats"])
def test_an_untrained_head_is_replaced_and_nothing_but_the_head(data, request, tmp_path):
    cohort = request.getfixturevalue(data)
    model = "beat_mlp" if data == "beats" else "cnn_simple"
    network, site = fresh(model, cohort.task), site_over(cohort, tmp_path)
    before = get_weights(network)
    given = predict(network, site.splits[VAL])
    own = map_head(network, site, job_of(tmp_path))
    assert own.changed
    assert own.validated.shape == given.shape
    changed = {k for k, v in get_weights(network).items() if not np.array_equal(v, before[k])}
    assert changed == {"head.weight", "head.bias"}
    val = site.splits[VAL]
    assert patient_loss(val, own.validated) < patient_loss(val, given)
    again = fresh(model, cohort.task)
    np.testing.assert_array_equal(map_head(again, site, job_of(tmp_path)).validated, own.validated)
    assert all(np.array_equal(v, get_weights(network)[k]) for k, v in get_weights(again).items())


def test_the_global_head_stays_where_it_predicts_best(few, tmp_path, monkeypatch):
    losses = iter([0.4, 0.4, 0.5, 0.6, 0.7, 0.8])
    monkeypatch.setattr(module, "patient_loss", lambda *_: next(losses))
    network = fresh("cnn_simple", few.task)
    before = get_weights(network)
    own = map_head(network, site_over(few, tmp_path), job_of(tmp_path))
    assert (own.changed, own.validated) == (False, None)
    assert "global head does best" in own.note
    assert all(np.array_equal(v, before[k]) for k, v in get_weights(network).items())


def test_fewer_patients_than_folds_keep_the_global_model(few, tmp_path):
    site = site_over(few.take(np.flatnonzero(few.patients == few.patients[0])), tmp_path)
    own = map_head(fresh("cnn_simple", few.task), site, job_of(tmp_path))
    assert not own.changed
    assert f"fewer than {FOLDS}" in own.note


def test_a_site_without_validation_can_have_a_head(cohort, tmp_path):
    site = site_over(cohort, tmp_path)
    site.splits[VAL] = nothing_of(cohort)
    own = map_head(fresh("cnn_simple", cohort.task), site, job_of(tmp_path))
    assert own.changed
    assert own.validated.shape == (0, 9)


def test_the_folds_keep_a_patients_examples_together(beats, rng):
    fold = module._folds(beats, rng)
    for patient in np.unique(beats.patients):
        assert len(set(fold[beats.patients == patient].tolist())) == 1
    assert set(fold.tolist()) == set(range(1, FOLDS + 1))


@pytest.mark.parametrize("most", [1, 3, 7, MOST_EXAMPLES])
def test_a_holter_gives_a_few_of_its_beats_evenly(beats, monkeypatch, most):
    monkeypatch.setattr(module, "MOST_EXAMPLES", most)
    kept = module._evenly_taken(beats)
    for patient in np.unique(beats.patients):
        mine = kept[beats.patients == patient]
        assert mine.sum() == min(len(mine), most)
        gaps = np.diff(np.flatnonzero(mine))
        assert not len(gaps) or gaps.max() - gaps.min() <= 1
