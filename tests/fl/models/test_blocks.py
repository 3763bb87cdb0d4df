"""The building blocks that all networks share."""

import pytest
import torch

from fl.models.blocks import FeatureBranch, LeadStem, SignalDropout, group_norm, mean_and_max


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


def test_signal_dropout_zeroes_whole_examples_and_only_in_training():
    signal, mask = torch.randn(1000, 2, 7), torch.ones(1000, 2)
    read = []

    def reader(signal, mask):
        read.append(len(signal))
        return signal[:, 0]

    dropout = SignalDropout(0.25)
    kept = dropout(reader, signal, mask)
    shown = (kept != 0).any(dim=1)
    assert torch.equal(kept[shown], signal[shown, 0])
    assert read == [int(shown.sum())]  # hidden signals are not read
    assert 0.7 < shown.float().mean() < 0.8
    assert torch.equal(dropout.eval()(reader, signal, mask), signal[:, 0])
    assert not SignalDropout(1.0)(reader, signal, mask).any()


def test_mean_and_max_over_time():
    sequence = torch.tensor([[[1.0, 2.0, 6.0], [-1.0, -2.0, -3.0]]])
    assert mean_and_max(sequence).tolist() == [[3.0, -2.0, 6.0, -1.0]]


@pytest.mark.parametrize(("channels", "groups"), [(64, 8), (8, 1), (20, 1)])
def test_groups_hold_eight_channels_where_that_divides(channels, groups):
    assert group_norm(channels).num_groups == groups
