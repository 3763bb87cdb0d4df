"""What every network must do, for every entry of MODELS and both tasks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fl.ecg.beat_features import FEATURES
from fl.ecg.tasks import TASKS as QUESTIONS
from fl.models import MODELS, Network, build_network, parameters, parts_of

Inputs = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class InputShape:
    leads: int
    samples: int
    features: int
    classes: int

    def network(self, model: str, seed: int = 0) -> Network:
        torch.manual_seed(seed)
        return (
            MODELS[model]
            .build(
                leads=self.leads, samples=self.samples, features=self.features, classes=self.classes
            )
            .eval()
        )

    def batch(self, n: int = 4, samples: int | None = None) -> Inputs:
        rng = torch.Generator().manual_seed(1)
        return (
            torch.randn(n, self.leads, samples or self.samples, generator=rng),
            torch.ones(n, self.leads),
            torch.randn(n, self.features, generator=rng),
        )


# Networks that a CPU trains in seconds; a larger one is the same code with other numbers.
SMALL = {name for name in MODELS if not name.endswith("_large")}
TASKS = {
    "rhythm": InputShape(leads=12, samples=1000, features=0, classes=9),
    "beat": InputShape(leads=2, samples=128, features=len(FEATURES), classes=5),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """For batches this small, several threads are slower than one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=TASKS)
def task(request: pytest.FixtureRequest) -> InputShape:
    return TASKS[request.param]


def without_dropout(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


@pytest.mark.parametrize("samples", [64, 99, 128, 1000, 1500])
def test_logits_have_one_row_per_record_and_one_column_per_class(model, task, samples):
    logits = task.network(model)(*task.batch(3, samples))
    assert logits.shape == (3, task.classes)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


def test_one_channel_is_enough_for_a_beat(model):
    task = InputShape(leads=1, samples=128, features=len(FEATURES), classes=5)
    assert task.network(model)(*task.batch()).shape == (4, 5)


@pytest.mark.parametrize("value", [0.0, -7.0, 1e30, float("inf"), float("nan")])
def test_a_missing_lead_changes_nothing_whatever_its_values(model, task, value):
    network = task.network(model)
    signal, mask, features = task.batch()
    mask[:, -1] = 0
    other = signal.clone()
    other[:, -1] = value
    torch.testing.assert_close(
        network(other, mask, features), network(signal, mask, features), rtol=0, atol=0
    )


def test_every_present_lead_changes_something(model, task):
    network = task.network(model)
    signal, mask, features = task.batch()
    before = network(signal, mask, features)
    for lead in range(task.leads):
        other = signal.clone()
        other[:, lead] = other[:, lead].roll(20, dims=-1) * 2
        assert not torch.allclose(network(other, mask, features), before)


def test_a_flat_lead_is_not_a_missing_one(model, task):
    network = task.network(model)
    signal, mask, features = task.batch()
    signal[:, 0] = 0
    without_first = mask.clone()
    without_first[:, 0] = 0
    assert not torch.allclose(
        network(signal, without_first, features), network(signal, mask, features)
    )


def test_every_feature_changes_something(model):
    task = TASKS["beat"]
    network = task.network(model)
    signal, mask, features = task.batch()
    before = network(signal, mask, features)
    for feature in range(task.features):
        other = features.clone()
        other[:, feature] += 1
        assert not torch.allclose(network(signal, mask, other), before)


@pytest.mark.parametrize("question", ["rhythm", "beat"])
def test_declared_parts_have_one_row_per_class_and_one_column_per_lead(model, question):
    task = QUESTIONS[question]
    parts = parts_of(model, task)
    shapes = {n: tuple(w.shape) for n, w in build_network(model, task).state_dict().items()}
    assert parts.head == ("head.weight", "head.bias")
    assert [shapes[name][0] for name in parts.head] == [len(task.classes)] * 2
    assert parts.lead_columns
    assert all(shapes[name][1] == task.leads for name in parts.lead_columns)


@pytest.mark.parametrize("question", ["rhythm", "beat"])
def test_every_entry_with_a_column_per_lead_is_declared(model, question):
    """Three leads more: the entries whose shape changes are those that belong to leads."""

    def shapes(leads: int) -> dict[str, torch.Size]:
        task = TASKS[question]
        network = MODELS[model].build(
            leads=leads, samples=task.samples, features=task.features, classes=task.classes
        )
        return {name: weights.shape for name, weights in network.state_dict().items()}

    few, many = shapes(TASKS[question].leads), shapes(TASKS[question].leads + 3)
    belong_to_leads = {name for name in few if few[name] != many[name]}
    assert belong_to_leads == set(parts_of(model, QUESTIONS[question]).lead_columns)


def test_only_the_feature_branch_learns_faster_and_only_where_there_are_features(model):
    network = TASKS["beat"].network(model)
    fast = {f"rr.{name}": 2.0 for name, _ in network.rr.named_parameters()}
    assert fast
    assert parts_of(model, QUESTIONS["beat"]).rate_factors == fast
    assert parts_of(model, QUESTIONS["rhythm"]).rate_factors == {}


EXTREMES: dict[str, Callable[[Inputs], Inputs]] = {
    "huge": lambda b: (b[0] * 1e4, b[1], b[2] * 1e4),
    "huge and constant": lambda b: (torch.full_like(b[0], 1e4), b[1], b[2]),
    "zeros": lambda b: (b[0] * 0, b[1], b[2] * 0),
    "all leads missing": lambda b: (b[0], b[1] * 0, b[2]),
}


@pytest.mark.parametrize("extreme", EXTREMES)
def test_gradients_stay_finite_on_extreme_input(model, task, extreme):
    network = task.network(model).train()
    logits = network(*EXTREMES[extreme](task.batch()))
    nn.functional.binary_cross_entropy_with_logits(logits, torch.ones_like(logits)).backward()
    assert logits.isfinite().all()
    for name, weights in network.named_parameters():
        assert weights.grad is not None, name
        assert weights.grad.isfinite().all(), name


def test_every_weight_is_used(model, task):
    network = task.network(model)
    network(*task.batch()).pow(2).sum().backward()
    unused = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not unused


def test_saved_weights_give_the_same_logits(model, task, tmp_path):
    network, other = task.network(model, seed=0), task.network(model, seed=1)
    batch = task.batch()
    assert not torch.equal(network(*batch), other(*batch))
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(network(*batch), other(*batch))


def test_the_same_seed_builds_the_same_weights(model, task):
    one, same = task.network(model, seed=3).state_dict(), task.network(model, seed=3).state_dict()
    assert one.keys() == same.keys()
    assert all(torch.equal(one[name], same[name]) for name in one)


def test_the_length_of_the_signal_does_not_change_the_weights_shapes(model, task):
    def shapes(samples: int) -> dict[str, torch.Size]:
        network = MODELS[model].build(
            leads=task.leads, samples=samples, features=task.features, classes=task.classes
        )
        return {name: weights.shape for name, weights in network.state_dict().items()}

    assert shapes(64) == shapes(1500)


@pytest.mark.parametrize("training", [False, True])
def test_a_record_alone_is_the_record_in_a_batch(model, task, training):
    network = task.network(model).train(training)
    without_dropout(network)
    signal, mask, features = task.batch(5)
    mask[1:, 0] = 0  # the first record has a lead that the others do not have
    together = network(signal, mask, features)
    for i in range(5):
        alone = network(signal[i : i + 1], mask[i : i + 1], features[i : i + 1])
        torch.testing.assert_close(alone[0], together[i], rtol=0, atol=1e-5)


def test_dropout_is_the_only_randomness(model, task):
    network = task.network(model).train()
    batch = task.batch()
    assert not torch.equal(network(*batch), network(*batch))
    without_dropout(network)
    assert torch.equal(network(*batch), network(*batch))


def test_nothing_but_weights_is_kept(model, task):
    assert not list(task.network(model).buffers())  # batch statistics would be buffers


def test_the_head_is_linear_with_one_row_per_class(model, task):
    network = task.network(model)
    assert type(network.head) is nn.Linear
    assert network.head.weight.shape[0] == network.head.bias.shape[0] == task.classes
    outputs: list[Tensor] = []
    network.head.register_forward_hook(lambda _module, _inputs, out: outputs.append(out))
    logits = network(*task.batch())
    (head,) = outputs
    if network.rr.early:  # early features only divide the first two classes' total between them
        torch.testing.assert_close(logits[:, :2].logsumexp(dim=1), head[:, :2].logsumexp(dim=1))
        logits, head = logits[:, 2:], head[:, 2:]
    assert torch.equal(logits, head)


@pytest.mark.parametrize("model", sorted(SMALL - {"beat_cnn"}))
def test_all_networks_for_rhythms_have_about_as_many_weights(model):
    assert 105_000 <= parameters(TASKS["rhythm"].network(model)) <= 195_000


def test_frozen_weights_are_not_counted():
    layer = nn.Linear(3, 2)
    assert parameters(layer) == 8
    layer.bias.requires_grad_(False)
    assert parameters(layer) == 6


@pytest.mark.parametrize("model", sorted(SMALL))
def test_a_few_steps_learn_to_tell_fast_waves_from_slow_ones(model, task):
    """Sixteen recordings, half of them with waves of one frequency and half with another."""
    network = task.network(model).train()
    signal, mask, features = task.batch(16)
    labels = torch.arange(16) % 2 * 2  # not S, on which beat_cnn mostly decides by timing
    time = torch.arange(task.samples) / task.samples
    waves = (2 * torch.pi * (4 + 6 * labels).unsqueeze(1) * time).sin()
    signal = signal * 0.3 + waves.unsqueeze(1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(signal, mask, features), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("model", sorted(SMALL))
def test_beats_that_differ_only_in_timing_are_learnt(model):
    """The signal is noise, and two of the features decide what is early. New beats at each step."""
    task = TASKS["beat"]
    network = task.network(model).train()
    branch = list(network.rr.parameters())
    rest = [p for name, p in network.named_parameters() if not name.startswith("rr.")]
    optimizer = torch.optim.AdamW([{"params": rest, "lr": 1e-3}, {"params": branch, "lr": 1e-2}])
    rng = torch.Generator().manual_seed(2)

    def beats(n: int) -> tuple[Inputs, Tensor]:
        features = torch.randn(n, task.features, generator=rng)
        early = (features[:, 0] < -0.5) & (features[:, 1] > 0)
        noise = torch.randn(n, task.leads, 64, generator=rng)
        return (noise, torch.ones(n, task.leads), features), early.long()

    for _ in range(40):
        batch, early = beats(32)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(*batch), early).backward()
        optimizer.step()
    batch, early = beats(500)
    score = network.eval()(*batch).softmax(dim=1)[:, 1]
    correct_pairs = score[early == 1].unsqueeze(1) > score[early == 0]
    assert correct_pairs.float().mean() > 0.9  # AUROC
