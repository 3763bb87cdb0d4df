"""The parts all networks share."""

import pytest
import torch

from fl.models import CNN1D, Network
from fl.models.blocks import (
    EARLY_WEIGHT,
    EarlyFeatureMixture,
    FeatureBranch,
    LeadStem,
    SignalDropout,
    group_norm,
    mean_and_max,
)


@pytest.fixture
def stem() -> LeadStem:
    torch.manual_seed(0)
    return LeadStem(12, 32, kernel=7, stride=2, padding=3)


@pytest.mark.parametrize("present", [1, 2, 6])
def test_one_lead_of_twelve_gives_activations_of_the_scale_of_twelve(stem, present):
    signal, some, all_leads = torch.randn(1, 12, 1000), torch.zeros(1, 12), torch.ones(1, 12)
    some[:, :present] = 1
    assert stem(signal, some).std().item() == pytest.approx(
        stem(signal, all_leads).std().item(), rel=0.25
    )


def test_the_stem_tells_apart_which_lead_holds_the_same_signal(stem):
    signal = torch.randn(1, 1, 1000).expand(1, 12, 1000)
    torch.nn.init.constant_(stem.conv.weight, 0.1)  # every lead is read alike
    first, last = torch.eye(12)[:1], torch.eye(12)[-1:]
    assert not torch.allclose(stem(signal, first), stem(signal, last))


def test_without_features_the_rr_branch_is_empty():
    branch = FeatureBranch(0)
    assert not list(branch.parameters())
    assert branch(torch.zeros(3, 0)).shape == (3, 0)


def test_the_rr_branch_makes_its_own_of_the_features_and_nothing_of_none():
    features = torch.randn(3, 4)
    assert FeatureBranch(4, hidden=5)(features).shape == (3, 5)
    assert FeatureBranch(0)(features[:, :0]).shape == (3, 0)


@pytest.fixture
def judged() -> Network:
    torch.manual_seed(0)
    return (
        CNN1D(width=8, depth=2, early=(1, 3))
        .build(leads=2, samples=64, features=5, classes=4)
        .eval()
    )


def beats(n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.randn(n, 2, 64), torch.ones(n, 2), torch.randn(n, 5)


def heads_answer(network: Network, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    hook = network.head.register_forward_hook(lambda _module, _inputs, out: seen.append(out))
    network(*batch)
    hook.remove()
    return seen[0]


def test_the_second_class_is_a_mixture_of_two_answers_and_the_others_are_the_heads(judged):
    batch = beats(6)
    said, head = judged(*batch).softmax(dim=1), heads_answer(judged, batch).softmax(dim=1)
    early = judged.rr.earliness(batch[2]).sigmoid().squeeze(1)
    alone = head[:, 1] / (head[:, 0] + head[:, 1])
    expected = EARLY_WEIGHT * early + (1 - EARLY_WEIGHT) * alone
    torch.testing.assert_close(said[:, 1] / (said[:, 0] + said[:, 1]), expected)
    torch.testing.assert_close(said[:, 2:], head[:, 2:])
    torch.testing.assert_close(said.sum(dim=1), torch.ones(6))


def test_the_early_answer_hears_of_the_early_features_alone(judged):
    features = torch.randn(1, 5)
    before = judged.rr.earliness(features).item()
    for column in range(5):
        other = features.clone()
        other[:, column] += 2
        assert (judged.rr.earliness(other).item() != before) == (column in (1, 3))


def test_in_training_each_beat_is_judged_by_one_of_the_two():
    judges, early, everything = (
        EarlyFeatureMixture(0.5),
        torch.full((1000, 1), 2.0),
        torch.full((1000, 1), -1.0),
    )
    said = judges(torch.cat([early, everything], dim=1))
    assert set(said.unique().tolist()) == {2.0, -1.0}
    assert 0.4 < (said == 2).float().mean() < 0.6


@pytest.mark.parametrize("held", [0.0, 1e4, -1e4])
def test_what_the_judges_say_is_finite_and_so_are_its_gradients(judged, held):
    signal, mask, features = beats(4)
    features.fill_(held)
    logits = judged(signal, mask, features)
    torch.nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    assert logits.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in judged.parameters())


def test_a_silenced_signal_is_zero_for_whole_examples_and_in_training_only():
    pooled = torch.ones(1000, 7)
    silence = SignalDropout(0.25)
    kept = silence(pooled)
    assert ((kept == 0).all(dim=1) | (kept == 1).all(dim=1)).all()
    assert 0.7 < kept[:, 0].mean() < 0.8
    assert torch.equal(silence.eval()(pooled), pooled)


def test_mean_and_max_over_time():
    sequence = torch.tensor([[[1.0, 2.0, 6.0], [-1.0, -2.0, -3.0]]])
    assert mean_and_max(sequence).tolist() == [[3.0, -2.0, 6.0, -1.0]]


@pytest.mark.parametrize(("channels", "groups"), [(64, 8), (8, 1), (20, 1)])
def test_groups_hold_eight_channels_where_that_divides(channels, groups):
    assert group_norm(channels).num_groups == groups
