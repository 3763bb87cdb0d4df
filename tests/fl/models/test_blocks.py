"""The parts all networks share."""

import pytest
import torch

from fl.models import CNN1D
from fl.models.blocks import LeadStem, RRBranch, Silence, group_norm, mean_and_max


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
    branch = RRBranch(0)
    assert not list(branch.parameters())
    assert branch(torch.zeros(3, 0)).shape == (3, 0)


def test_the_rr_branch_makes_its_own_of_the_features_and_nothing_of_none():
    features = torch.randn(3, 4)
    assert RRBranch(4, hidden=5)(features).shape == (3, 5)
    assert RRBranch(0)(features[:, :0]).shape == (3, 0)


def test_only_the_early_features_tell_the_second_class_from_the_first():
    torch.manual_seed(0)
    network = CNN1D(width=8, depth=2, early=(1, 3)).build(
        leads=2, samples=64, features=5, classes=4
    )
    network.eval()
    signal, mask, features = torch.randn(1, 2, 64), torch.ones(1, 2), torch.randn(1, 5)

    def second_against_first(signal, features):
        logits = network(signal, mask, features)
        return (logits[:, 1] - logits[:, 0]).item()

    before = second_against_first(signal, features)
    assert second_against_first(-signal, features) == pytest.approx(before, abs=1e-5)
    for column in range(5):
        other = features.clone()
        other[:, column] += 2
        moved = second_against_first(signal, other) != pytest.approx(before, abs=1e-5)
        assert moved == (column in (1, 3))


def test_a_silenced_signal_is_zero_for_whole_examples_and_in_training_only():
    pooled = torch.ones(1000, 7)
    silence = Silence(0.25)
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
