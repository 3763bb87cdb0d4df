"""The ResLSTM-TemporalSE: its formula on small numbers, and what each switch removes."""

from dataclasses import replace
from math import e

import pytest
import torch
from torch import Tensor, nn

from fl.models.blocks import Network, parameters
from fl.models.reslstm_temporalse import ResLSTMBlock, ResLSTMTemporalSE, TemporalSE
from fl.util.errors import ConfigError


def build(**switches: object) -> Network:
    torch.manual_seed(0)
    model = replace(ResLSTMTemporalSE(), **switches)
    return model.build(leads=12, samples=1000, features=0, classes=9).eval()


def names(network: nn.Module) -> set[str]:
    return {name for name, _ in network.named_parameters()}


def tse(width: int = 8, **switches: bool) -> TemporalSE:
    torch.manual_seed(0)
    on = {"se": True, "temporal_attention": True, "time_gate": True, **switches}
    return TemporalSE(width, **on, reduction=2)


def sequence(time: int = 6, width: int = 8) -> Tensor:
    return torch.randn(3, time, width, generator=torch.Generator().manual_seed(1))


def logit(p: float) -> float:
    return float(torch.logit(torch.tensor(p)))


@pytest.mark.parametrize("temporal_attention", [True, False])
def test_attention_is_positive_and_sums_to_one(temporal_attention):
    weights = tse(temporal_attention=temporal_attention).attention(sequence())
    assert weights.shape == (3, 6)
    assert (weights > 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3))


def test_without_temporal_attention_every_moment_weighs_the_same():
    weights = tse(temporal_attention=False).attention(sequence(time=5))
    torch.testing.assert_close(weights, torch.full((3, 5), 0.2))


def test_temporal_se_is_its_formula_on_two_moments_of_one_channel():
    module = TemporalSE(1, se=True, temporal_attention=True, time_gate=True, reduction=8)
    module.load_state_dict(
        {
            "score.0.weight": torch.tensor([[1.0]]),
            "score.0.bias": torch.tensor([0.0]),
            "score.2.weight": torch.tensor([[2.0]]),
            "excite.0.weight": torch.tensor([[1.0]]),
            "excite.0.bias": torch.tensor([0.0]),
            "excite.2.weight": torch.tensor([[1.0]]),
            "excite.2.bias": torch.tensor([-0.5]),
            "gate.0.weight": torch.tensor([[logit(0.8)]]),
            "gate.0.bias": torch.tensor([0.0]),
        }
    )
    # tanh(0) = 0 and tanh(artanh(1/2)) = 1/2: the scores are 0 and 1, the weights 1 : e.
    moment = 0.5493061443340549  # artanh(1/2)
    squeezed = e / (1 + e) * moment
    excited = 1 / (1 + e ** -(squeezed - 0.5))
    gate = 1 / (1 + e ** -(logit(0.8) * moment))
    out = module(torch.tensor([[[0.0], [moment]]]))
    assert out.flatten().tolist() == pytest.approx([0.0, moment * excited * gate])


def test_dropout_in_a_block_leaves_its_input():
    block = ResLSTMBlock(8, tse(), residual=True, bidirectional=True, dropout=1.0)
    h = sequence()
    torch.testing.assert_close(block.train()(h), h)


def test_attention_prefers_the_moment_with_the_higher_score():
    module = tse()
    h = sequence()
    assert module.score is not None
    scores = module.score(h).squeeze(-1)
    assert torch.equal(module.attention(h).argmax(dim=1), scores.argmax(dim=1))


def test_with_everything_off_temporal_se_changes_nothing_and_has_no_weights():
    module = tse(se=False, time_gate=False)
    assert not names(module)
    h = sequence()
    assert torch.equal(module(h), h)


@pytest.mark.parametrize(
    ("switches", "gone"),
    [
        ({"temporal_attention": False}, {"tse.score"}),
        ({"se": False}, {"tse.score", "tse.excite"}),
        ({"time_gate": False}, {"tse.gate"}),
        ({"bidirectional": False}, {"_reverse"}),
        ({"stem": "linear"}, {"stem.convs"}),
    ],
)
def test_a_switch_removes_its_weights_and_no_others(switches, gone):
    remaining = names(build(**switches))
    assert not [name for name in remaining for part in gone if part in name]
    expected = {name for name in names(build()) if not any(part in name for part in gone)}
    if "stem" in switches:
        remaining = {name for name in remaining if "stem" not in name}
        expected = {name for name in expected if "stem" not in name}
    assert remaining == expected


def test_without_residual_the_weights_stay_and_the_logits_differ():
    plain, residual = build(residual=False), build()
    assert names(plain) == names(residual)
    plain.load_state_dict(residual.state_dict())
    batch = torch.randn(2, 12, 200), torch.ones(2, 12), torch.zeros(2, 0)
    assert not torch.allclose(plain(*batch), residual(*batch))


def test_a_block_adds_its_update_to_its_input():
    module = tse()
    with_skip = ResLSTMBlock(8, module, residual=True, bidirectional=True, dropout=0.0)
    without = ResLSTMBlock(8, module, residual=False, bidirectional=True, dropout=0.0)
    without.load_state_dict(with_skip.state_dict())
    h = sequence()
    torch.testing.assert_close(with_skip(h), h + without(h))


def test_one_direction_does_not_see_what_comes_later():
    h = sequence()
    changed_later = h.clone()
    changed_later[:, 4:] = changed_later[:, 4:].flip(dims=[2])  # LayerNorm would undo a shift
    identity = tse(se=False, time_gate=False)
    torch.manual_seed(0)
    one_way = ResLSTMBlock(8, identity, residual=True, bidirectional=False, dropout=0.0)
    both_ways = ResLSTMBlock(8, identity, residual=True, bidirectional=True, dropout=0.0)
    assert torch.equal(one_way(h)[:, :4], one_way(changed_later)[:, :4])
    assert not torch.allclose(both_ways(h)[:, :4], both_ways(changed_later)[:, :4])


@pytest.mark.parametrize("stem", ["residual", "conv", "linear"])
@pytest.mark.parametrize(("stride", "steps"), [(8, 125), (16, 63), (4, 250)])
def test_every_stem_gives_one_step_per_stride(stem, stride, steps):
    network = build(stem=stem, stride=stride)
    if stem == "linear" and 1000 % stride:
        steps -= 1  # no incomplete patch at the end
    assert network.stem(torch.randn(2, 12, 1000), torch.ones(2, 12)).shape == (2, 64, steps)


def test_the_default_has_about_as_many_weights_as_the_first_trials_had():
    assert parameters(build()) == pytest.approx(146_000, rel=0.05)


def test_depth_and_width_are_options():
    assert parameters(build(depth=1)) < parameters(build()) < parameters(build(width=96))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"stem": "wavelet"}, "model.stem is 'wavelet'. Known stems: residual, conv, linear"),
        ({"width": 33}, "model.width is 33"),
        ({"stride": 12}, "model.stride is 12"),
        ({"stride": 2}, "model.stride is 2"),
    ],
)
def test_an_option_without_meaning_is_refused_by_name(option, message):
    with pytest.raises(ConfigError, match=message):
        ResLSTMTemporalSE(**option)
