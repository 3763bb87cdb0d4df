"""S against N: the early features and the whole network share the decision."""

import pytest
import torch

from fl.models import CNN1D, Network
from fl.models.early_decision import EARLY_WEIGHT, EarlyDecision


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


def early_logit(network: Network, features: torch.Tensor) -> torch.Tensor:
    """Logit of the second class against the first by the early features alone, in evaluation."""
    decision = network.after_head
    assert isinstance(decision, EarlyDecision)
    return decision.score(decision.mlp(features[:, [1, 3]]))


def test_the_second_class_is_a_mixture_of_two_scores_and_the_others_are_the_heads(network):
    batch = beats(6)
    p, head = network(*batch).softmax(dim=1), head_output(network, batch).softmax(dim=1)
    early = early_logit(network, batch[2]).sigmoid().squeeze(1)
    whole = head[:, 1] / (head[:, 0] + head[:, 1])
    expected = EARLY_WEIGHT * early + (1 - EARLY_WEIGHT) * whole
    torch.testing.assert_close(p[:, 1] / (p[:, 0] + p[:, 1]), expected)
    torch.testing.assert_close(p[:, 2:], head[:, 2:])
    torch.testing.assert_close(p.sum(dim=1), torch.ones(6))


def test_the_early_decision_depends_on_the_early_features_alone(network):
    features, head = torch.randn(1, 5), torch.randn(1, 4)
    before = network.after_head(head, features)
    for column in range(5):
        other = features.clone()
        other[:, column] += 2
        changed = not torch.equal(network.after_head(head, other), before)
        assert changed == (column in (1, 3))


def test_in_training_each_beat_uses_one_of_the_two_scores():
    decision = EarlyDecision((0,))
    torch.nn.init.zeros_(decision.score.weight)
    torch.nn.init.constant_(decision.score.bias, 2.0)
    logits = decision(torch.tensor([[0.0, -1.0, 3.0]]).expand(1000, 3), torch.zeros(1000, 1))
    odds = logits[:, 1] - logits[:, 0]
    early, whole = (odds - 2).abs() < 1e-5, (odds + 1).abs() < 1e-5
    assert (early | whole).all()
    assert 0.4 < early.float().mean() < 0.6


def test_without_early_features_the_head_decides_alone():
    decision, logits = EarlyDecision(()), torch.randn(3, 5)
    assert decision(logits, torch.randn(3, 2)) is logits
    assert not list(decision.parameters())


def test_a_task_without_features_has_no_early_decision():
    network = CNN1D(width=8, depth=2, early_features=(1, 3)).build(
        leads=2, samples=64, features=0, classes=4
    )
    assert network.after_head is None


@pytest.mark.parametrize("value", [0.0, 1e4, -1e4])
def test_the_mixture_and_its_gradients_are_finite_for_extreme_features(network, value):
    signal, mask, features = beats(4)
    features.fill_(value)
    logits = network(signal, mask, features)
    torch.nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    assert logits.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
