"""Attacks on made models: one that remembers its patients, and one that has seen nobody."""

import numpy as np
import pytest
import torch
from support.plans import PLAN
from torch import nn

from fl.ecg.tasks import RHYTHM
from fl.models import build_network
from fl.privacy.attacks.likelihood_ratio import draw_halves, offline_score, online_score
from fl.privacy.attacks.loss_threshold import fall_score, loss_score
from fl.privacy.attacks.patient_scores import losses_by_patient, some_of_each
from fl.privacy.attacks.shadow_models import train_shadows
from fl.privacy.attacks.success import measure
from fl.training.loop import crop_batches


class Memory(nn.Module):
    """Knows the answer to every crop it was shown, and of others nothing."""

    def __init__(self, cohort):
        super().__init__()
        self.answers = {}
        for batch, _, _ in crop_batches(self, cohort):
            for key, labels in zip(self.keys(batch.signal), batch.labels, strict=True):
                self.answers[key] = torch.where(labels > 0, 9.0, -9.0)

    def keys(self, signal):
        return [round(float(value), 4) for value in signal.double().abs().sum(dim=(1, 2))]

    def forward(self, signal, lead_mask, features):
        nothing = torch.zeros(len(RHYTHM.classes))
        return torch.stack([self.answers.get(key, nothing) for key in self.keys(signal)])


@pytest.fixture(scope="module")
def patients(cohort):
    """Names of the cohort's patients in order, and every other one a member."""
    names = np.unique(cohort.patients)
    return names, np.arange(len(names)) % 2 == 0


def success(cohort, scores, members):
    _, first = np.unique(cohort.patients, return_index=True)
    return measure(scores, members, cohort.sources[first], 0.0)


def test_a_model_that_remembers_its_patients_is_found_out(cohort, patients):
    names, members = patients
    remembered = cohort.take(np.flatnonzero(np.isin(cohort.patients, names[members])))
    seen = losses_by_patient(Memory(remembered), cohort)
    found = success(cohort, loss_score(seen), members)
    assert found.auc.value > 0.99
    assert found.tpr.low > 0.9
    assert found.epsilon > 1.5
    assert (found.members, found.members + found.non_members) == (members.sum(), len(names))


def test_a_model_that_has_seen_nobody_gives_an_interval_with_a_half_in_it(cohort, patients):
    torch.manual_seed(0)
    network = build_network("cnn_simple", RHYTHM)
    found = success(cohort, loss_score(losses_by_patient(network, cohort)), patients[1])
    assert found.auc.low < 0.5 < found.auc.high


def test_windows_of_one_patient_count_once(few):
    names = np.unique(few.patients)
    members = np.arange(len(names)) % 2 == 0
    holter = np.flatnonzero(few.patients == names[-1])
    more = few.take(np.concatenate([np.arange(len(few)), np.repeat(holter, 60)]))
    torch.manual_seed(0)
    network = build_network("cnn_simple", RHYTHM)
    once, often = (losses_by_patient(network, one).loss for one in (few, more))
    np.testing.assert_allclose(once, often, rtol=1e-6)
    assert success(more, often, members).non_members == (~members).sum()
    shown = some_of_each(more, network, most=5)
    assert (shown.patients == names[-1]).sum() == 5
    assert len(np.unique(shown.patients)) == len(names)


def test_a_loss_that_fell_is_told_from_one_that_was_always_small(cohort, patients):
    names, members = patients
    easy = cohort.take(np.flatnonzero(np.isin(cohort.patients, names[~members])))
    before = losses_by_patient(Memory(easy), cohort)  # the others are easy from the beginning
    after = losses_by_patient(Memory(cohort), cohort)
    assert success(cohort, loss_score(after), members).auc.value == pytest.approx(0.5, abs=0.15)
    assert success(cohort, fall_score(before, after), members).auc.value > 0.99


def test_each_patient_trains_half_of_the_shadow_models():
    halves = draw_halves(21, 6, 3, "site-1")
    assert (halves.sum(axis=0) == 3).all()
    assert set(halves.sum(axis=1).tolist()) == {10, 11}
    assert not np.array_equal(halves, draw_halves(21, 6, 3, "site-2"))
    with pytest.raises(ValueError, match="even"):
        draw_halves(21, 5, 3)


def test_ratio_of_likelihoods_by_hand():
    trained = np.array([[True, False], [True, False], [False, True], [False, True]])
    shadows = np.array([[4.0, 0.0], [6.0, 2.0], [1.0, 7.0], [3.0, 9.0]])
    # With the patient: means 5 and 8; without: 2 and 1; both spreads are the root of 2.
    target = np.array([5.0, 1.0])
    online = online_score(target, shadows, trained)
    np.testing.assert_allclose(online, [(0 + 9) / 4, (-49 + 0) / 4])
    np.testing.assert_allclose(offline_score(target, shadows, trained), [3 / 2**0.5, 0.0])


def test_hard_patients_are_not_taken_for_members_by_the_ratio(rng):
    members = np.arange(200) < 100
    hardness = rng.normal(scale=5.0, size=200)
    halves = draw_halves(200, 8, 0)
    shadows = hardness + 2.0 * halves + rng.normal(scale=0.5, size=halves.shape)
    target = hardness + 2.0 * members + rng.normal(scale=0.5, size=200)
    groups = np.full(200, "a")
    plain = measure(target, members, groups, 0.0)
    for score in (online_score, offline_score):
        ratio = measure(score(target, shadows, halves), members, groups, 0.0)
        assert ratio.auc.value > 0.95 > 0.75 > plain.auc.value


def test_shadow_models_are_trained_on_their_half_alone(few):
    started = []

    def start(seed):
        torch.manual_seed(seed)
        started.append(build_network("cnn_simple", RHYTHM))
        return started[-1]

    found = train_shadows(start, few, PLAN, 2, "x")
    n = len(np.unique(few.patients))
    assert found.confidence.shape == found.trained.shape == (2, n)
    assert (found.trained[0] ^ found.trained[1]).all()
    again = train_shadows(start, few, PLAN, 2, "x")
    np.testing.assert_array_equal(found.confidence, again.confidence)
