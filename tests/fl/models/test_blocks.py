"""The building blocks that all networks share."""

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


def test_the_stem_distinguishes_which_lead_recorded_a_signal(stem):
    signal = torch.randn(1, 1, 1000).expand(1, 12, 1000)
    torch.nn.init.constant_(stem.conv.weight, 0.1)  # the convolution treats every lead alike
    first, last = torch.eye(12)[:1], torch.eye(12)[-1:]
    assert not torch.allclose(stem(signal, first), stem(signal, last))


def test_without_features_the_feature_branch_is_empty():
    branch = FeatureBranch(0)
    assert not list(branch.parameters())
    assert branch(torch.zeros(3, 0)).shape == (3, 0)


def test_the_feature_branch_has_its_own_width_and_none_without_features():
    features = torch.randn(3, 4)
    assert FeatureBranch(4, hidden=5)(features).shape == (3, 5)
    assert FeatureBranch(0)(features[:, :0]).shape == (3, 0)


@pytest.fixture
def network() -> Network:
    """A small network with two early features."""
    torch.manual_seed(0)
    return (
        CNN1D(width=8, depth=2, early_features=(1, 3))
        .build(leads=2, samples=64, features=5, classes=4)
        .eval()
    )


def beats(n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.randn(n, 2, 64), torch.ones(n, 2), torch.randn(n, 5)


def head_output(network: Network, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    outputs: list[torch.Tensor] = []
    hook = network.head.register_forward_hook(lambda _module, _inputs, out: outputs.append(out))
    network(*batch)
    hook.remove()
    return outputs[0]


def test_the_second_class_is_a_mixture_of_two_scores_and_the_others_are_the_heads(network):
    batch = beats(6)
    p, head = network(*batch).softmax(dim=1), head_output(network, batch).softmax(dim=1)
    early = network.rr.early_logit(batch[2]).sigmoid().squeeze(1)
    whole = head[:, 1] / (head[:, 0] + head[:, 1])
    expected = EARLY_WEIGHT * early + (1 - EARLY_WEIGHT) * whole
    torch.testing.assert_close(p[:, 1] / (p[:, 0] + p[:, 1]), expected)
    torch.testing.assert_close(p[:, 2:], head[:, 2:])
    torch.testing.assert_close(p.sum(dim=1), torch.ones(6))


def test_the_early_logit_depends_on_the_early_features_alone(network):
    features = torch.randn(1, 5)
    before = network.rr.early_logit(features).item()
    for column in range(5):
        other = features.clone()
        other[:, column] += 2
        assert (network.rr.early_logit(other).item() != before) == (column in (1, 3))


def test_in_training_each_beat_uses_one_of_the_two_scores():
    mixture = EarlyFeatureMixture(0.5)
    early, whole = torch.full((1000, 1), 2.0), torch.full((1000, 1), -1.0)
    logits = mixture(torch.cat([early, whole], dim=1))
    assert set(logits.unique().tolist()) == {2.0, -1.0}
    assert 0.4 < (logits == 2).float().mean() < 0.6


@pytest.mark.parametrize("value", [0.0, 1e4, -1e4])
def test_the_mixture_and_its_gradients_are_finite_for_extreme_features(network, value):
    signal, mask, features = beats(4)
    features.fill_(value)
    logits = network(signal, mask, features)
    torch.nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    assert logits.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_signal_dropout_zeroes_whole_examples_and_only_in_training():
    pooled = torch.ones(1000, 7)
    dropout = SignalDropout(0.25)
    kept = dropout(pooled)
    assert ((kept == 0).all(dim=1) | (kept == 1).all(dim=1)).all()
    assert 0.7 < kept[:, 0].mean() < 0.8
    assert torch.equal(dropout.eval()(pooled), pooled)


def test_mean_and_max_over_time():
    sequence = torch.tensor([[[1.0, 2.0, 6.0], [-1.0, -2.0, -3.0]]])
    assert mean_and_max(sequence).tolist() == [[3.0, -2.0, 6.0, -1.0]]


@pytest.mark.parametrize(("channels", "groups"), [(64, 8), (8, 1), (20, 1)])
def test_groups_hold_eight_channels_where_that_divides(channels, groups):
    assert group_norm(channels).num_groups == groups
