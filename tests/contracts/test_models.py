"""What every network must do, for every entry of MODELS and each task that it can be used for.

What a network reads, it declares by its attribute `input`: signals or features alone, single
examples or rows of them. It is held to that.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import run_sim
from fl.ecg.beat_features import FEATURES
from fl.ecg.tasks import TASKS as QUESTIONS
from fl.models import MODELS, Network, build_network, check_model, parameters, parts_of
from fl.models.blocks import FeatureBranch, SignalDropout
from fl.models.early_decision import EarlyDecision
from fl.models.network_input import network_input
from fl.util.errors import ConfigError

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
    # A network that draws whole beats, which have no features, is used for no other task.
    "beat7": InputShape(leads=1, samples=QUESTIONS["beat7"].samples, features=0, classes=7),
}
PICTURES = {name for name in MODELS if getattr(MODELS[name], "needs_pictures", False)}
OF_PICTURES = ["cnn2d"]  # that a CPU can try and a federation can train
with torch.device("meta"):
    READS = {
        name: network_input(build_network(name, QUESTIONS["beat7" if name in PICTURES else "beat"]))
        for name in MODELS
    }
READ_FEATURES_ALONE = [name for name in MODELS if not READS[name].signal]
READ_ROWS = [name for name in MODELS if READS[name].row > 1]


USES = [(name, q) for q in ("rhythm", "beat") for name in MODELS if name not in PICTURES]
USES = [(name, question) for name, question in USES if question == "beat" or READS[name].signal]
USES += [(name, "beat7") for name in OF_PICTURES]


def with_shapes(uses: list[tuple[str, str]]) -> list[object]:
    return [pytest.param(name, TASKS[q], id=f"{name}-{q}") for name, q in uses]


every_network = pytest.mark.parametrize("model", MODELS)
every_network_for_beats = pytest.mark.parametrize("model", [m for m in MODELS if m not in PICTURES])
every_small_network = pytest.mark.parametrize("model", sorted(SMALL - PICTURES))
features_alone = pytest.mark.parametrize("model", READ_FEATURES_ALONE)
rows_of_beats = pytest.mark.parametrize("model", READ_ROWS)
# A network that reads features alone is of no use for a task without them.
every_question = pytest.mark.parametrize(("model", "question"), USES)
every_use = pytest.mark.parametrize(("model", "task"), with_shapes(USES))
every_use_of_signals = pytest.mark.parametrize(
    ("model", "task"), with_shapes([use for use in USES if READS[use[0]].signal])
)
every_small_use_of_signals = pytest.mark.parametrize(
    ("model", "task"), with_shapes([u for u in USES if READS[u[0]].signal and u[0] in SMALL])
)


def inputs(model: str, task: InputShape, n: int = 4, samples: int | None = None) -> Inputs:
    """The inputs of `n` examples, or of `n` whole rows for a network that reads rows."""
    return task.batch(n * READS[model].row, samples)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """For batches this small, several threads are slower than one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def without_dropout(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Dropout | SignalDropout):
            module.p = 0.0


@pytest.mark.parametrize("samples", [64, 99, 128, 1000, 1500])
@every_use
def test_logits_have_one_row_per_record_and_one_column_per_class(model, task, samples):
    logits = task.network(model)(*inputs(model, task, 3, samples))
    assert logits.shape == (3 * READS[model].row, task.classes)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


@every_network_for_beats
def test_one_channel_is_enough_for_a_beat(model):
    task = InputShape(leads=1, samples=128, features=len(FEATURES), classes=5)
    assert task.network(model)(*inputs(model, task)).shape == (4 * READS[model].row, 5)


@pytest.mark.parametrize("value", [0.0, -7.0, 1e30, float("inf"), float("nan")])
@every_use
def test_a_missing_lead_changes_nothing_whatever_its_values(model, task, value):
    network = task.network(model)
    signal, mask, features = inputs(model, task)
    mask[:, -1] = 0
    other = signal.clone()
    other[:, -1] = value
    torch.testing.assert_close(
        network(other, mask, features), network(signal, mask, features), rtol=0, atol=0
    )


@every_use_of_signals
def test_every_present_lead_changes_something(model, task):
    network = task.network(model)
    signal, mask, features = inputs(model, task)
    before = network(signal, mask, features)
    for lead in range(task.leads):
        other = signal.clone()
        other[:, lead] = other[:, lead].roll(20, dims=-1) * 2
        assert not torch.allclose(network(other, mask, features), before)


@every_use_of_signals
def test_a_flat_lead_is_not_a_missing_one(model, task):
    network = task.network(model)
    signal, mask, features = inputs(model, task)
    signal[:, 0] = 0
    without_first = mask.clone()
    without_first[:, 0] = 0
    assert not torch.allclose(
        network(signal, without_first, features), network(signal, mask, features)
    )


@every_network_for_beats
def test_every_feature_changes_something(model):
    task = TASKS["beat"]
    network = task.network(model)
    signal, mask, features = inputs(model, task)
    before = network(signal, mask, features)
    for feature in range(task.features):
        other = features.clone()
        other[:, feature] += 1
        assert not torch.allclose(network(signal, mask, other), before)


@every_question
def test_declared_parts_have_one_row_per_class_and_one_column_per_lead(model, question):
    task = QUESTIONS[question]
    parts = parts_of(model, task)
    shapes = {n: tuple(w.shape) for n, w in build_network(model, task).state_dict().items()}
    assert parts.head == ("head.weight", "head.bias")
    assert [shapes[name][0] for name in parts.head] == [len(task.classes)] * 2
    assert bool(parts.lead_columns) == READS[model].signal
    assert all(shapes[name][1] == task.leads for name in parts.lead_columns)


@every_question
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


@every_question
def test_only_the_feature_branch_and_the_early_decision_learn_faster(model, question):
    network = build_network(model, QUESTIONS[question])
    fast = {
        f"{name}.{own}": 2.0
        for name, module in network.named_modules()
        if isinstance(module, FeatureBranch | EarlyDecision)
        for own, _ in module.named_parameters()
    }
    assert bool(fast) == bool(QUESTIONS[question].features)  # without features there is no branch
    assert parts_of(model, QUESTIONS[question]).rate_factors == fast


EXTREMES: dict[str, Callable[[Inputs], Inputs]] = {
    "huge": lambda b: (b[0] * 1e4, b[1], b[2] * 1e4),
    "huge and constant": lambda b: (torch.full_like(b[0], 1e4), b[1], b[2]),
    "zeros": lambda b: (b[0] * 0, b[1], b[2] * 0),
    "all leads missing": lambda b: (b[0], b[1] * 0, b[2]),
}


@pytest.mark.parametrize("extreme", EXTREMES)
@every_use
def test_gradients_stay_finite_on_extreme_input(model, task, extreme):
    network = task.network(model).train()
    logits = network(*EXTREMES[extreme](inputs(model, task)))
    nn.functional.binary_cross_entropy_with_logits(logits, torch.ones_like(logits)).backward()
    assert logits.isfinite().all()
    for name, weights in network.named_parameters():
        assert weights.grad is not None, name
        assert weights.grad.isfinite().all(), name


@every_use
def test_every_weight_is_used(model, task):
    network = task.network(model)
    network(*inputs(model, task)).pow(2).sum().backward()
    unused = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not unused


@every_use
def test_saved_weights_give_the_same_logits(model, task, tmp_path):
    network, other = task.network(model, seed=0), task.network(model, seed=1)
    batch = inputs(model, task)
    assert not torch.equal(network(*batch), other(*batch))
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(network(*batch), other(*batch))


@every_use
def test_the_same_seed_builds_the_same_weights(model, task):
    one, same = task.network(model, seed=3).state_dict(), task.network(model, seed=3).state_dict()
    assert one.keys() == same.keys()
    assert all(torch.equal(one[name], same[name]) for name in one)


@every_use
def test_the_length_of_the_signal_does_not_change_the_weights_shapes(model, task):
    def shapes(samples: int) -> dict[str, torch.Size]:
        network = MODELS[model].build(
            leads=task.leads, samples=samples, features=task.features, classes=task.classes
        )
        return {name: weights.shape for name, weights in network.state_dict().items()}

    assert shapes(64) == shapes(1500)


@pytest.mark.parametrize("training", [False, True])
@every_use
def test_a_record_or_row_alone_is_the_same_in_a_batch(model, task, training):
    network = task.network(model).train(training)
    without_dropout(network)
    signal, mask, features = inputs(model, task, 5)
    row = READS[model].row
    mask[row:, 0] = 0  # the first record has a lead that the others do not have
    together = network(signal, mask, features)
    for i in range(5):
        own = slice(i * row, (i + 1) * row)
        alone = network(signal[own], mask[own], features[own])
        torch.testing.assert_close(alone, together[own], rtol=0, atol=1e-5)


@every_use
def test_dropout_is_the_only_randomness(model, task):
    network = task.network(model).train()
    batch = inputs(model, task)
    assert not torch.equal(network(*batch), network(*batch))
    without_dropout(network)
    assert torch.equal(network(*batch), network(*batch))


@every_use
def test_nothing_but_weights_is_kept(model, task):
    assert not list(task.network(model).buffers())  # batch statistics would be buffers


@every_use
def test_the_head_is_linear_with_one_row_per_class(model, task):
    network = task.network(model)
    assert type(network.head) is nn.Linear
    assert network.head.weight.shape[0] == network.head.bias.shape[0] == task.classes
    outputs: list[Tensor] = []
    network.head.register_forward_hook(lambda _module, _inputs, out: outputs.append(out))
    logits = network(*inputs(model, task))
    (head,) = outputs
    early = any(isinstance(m, EarlyDecision) for m in network.modules())
    if early:  # early features only divide the first two classes' total between them
        torch.testing.assert_close(logits[:, :2].logsumexp(dim=1), head[:, :2].logsumexp(dim=1))
        logits, head = logits[:, 2:], head[:, 2:]
    assert torch.equal(logits, head)


@pytest.mark.parametrize("model", sorted(n for n in SMALL - PICTURES if not n.startswith("beat_")))
def test_all_networks_for_rhythms_have_about_as_many_weights(model):
    assert 105_000 <= parameters(TASKS["rhythm"].network(model)) <= 195_000


def test_frozen_weights_are_not_counted():
    layer = nn.Linear(3, 2)
    assert parameters(layer) == 8
    layer.bias.requires_grad_(False)
    assert parameters(layer) == 6


@every_small_use_of_signals
def test_a_few_steps_learn_to_tell_fast_waves_from_slow_ones(model, task):
    """Sixteen recordings, half of them with waves of one frequency and half with another."""
    network = task.network(model).train()
    signal, mask, features = inputs(model, task, 16)
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


@every_small_network
def test_beats_that_differ_only_in_timing_are_learnt(model):
    """The signal is noise, and two of the features decide what is early. New beats at each step."""
    task = TASKS["beat"]
    network = task.network(model).train()
    fast = parts_of(model, QUESTIONS["beat"]).rate_factors
    of_features = [p for name, p in network.named_parameters() if name in fast]
    rest = [p for name, p in network.named_parameters() if name not in fast]
    groups = [{"params": rest, "lr": 1e-3}, {"params": of_features, "lr": 1e-2}]
    optimizer = torch.optim.AdamW(groups)
    rng = torch.Generator().manual_seed(2)

    def beats(n: int) -> tuple[Inputs, Tensor]:
        features = torch.randn(n, task.features, generator=rng)
        early = (features[:, 0] < -0.5) & (features[:, 1] > 0)
        noise = torch.randn(n, task.leads, 64, generator=rng)
        return (noise, torch.ones(n, task.leads), features), early.long()

    for _ in range(60):
        batch, early = beats(max(32, READS[model].row))
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(*batch), early).backward()
        optimizer.step()
    batch, early = beats(512)
    score = network.eval()(*batch).softmax(dim=1)[:, 1]
    correct_pairs = score[early == 1].unsqueeze(1) > score[early == 0]
    assert correct_pairs.float().mean() > 0.9  # AUROC


@features_alone
def test_a_network_that_reads_features_alone_ignores_signals_and_their_absence(model):
    task = TASKS["beat"]
    network = task.network(model)
    signal, mask, features = inputs(model, task)
    expected = network(signal, mask, features)
    for other in (signal * float("nan"), signal[:, :, :0]):
        assert torch.equal(network(other, mask, features), expected)
    assert torch.equal(network(signal, mask * 0, features), expected)


@every_network
def test_a_network_that_reads_features_alone_says_that_it_needs_them(model):
    assert getattr(MODELS[model], "needs_features", False) == (not READS[model].signal)


@features_alone
def test_a_task_without_features_refuses_it_in_one_line(model, capsys):
    assert run_sim.main(["--task", "rhythm-signal", "--model", model, "--data", "synthetic"]) == 2
    error = capsys.readouterr().err
    assert f"--model is '{model}', which reads features of heartbeats, and the rhythm" in error
    accepted = error.split("Accepted for this task: ")[1]
    assert "reslstm_temporalse" in accepted
    assert "beat_cnn" in accepted  # it reads signals too
    assert not any(name in accepted for name in READ_FEATURES_ALONE)


@rows_of_beats
def test_a_beat_depends_on_the_others_of_its_row_and_not_on_other_rows(model):
    network, row = TASKS["beat"].network(model), READS[model].row
    signal, mask, features = inputs(model, TASKS["beat"], 3)
    before = network(signal, mask, features)
    features[row + 20] += 1.0  # a beat of the second row
    changed = (network(signal, mask, features) != before).any(dim=1)
    assert changed[row + 20 : row + 25].all()
    assert changed[row + 15 : row + 20].all() == changed[row : row + 20].any() == READS[model].later
    assert not changed[:row].any()
    assert not changed[2 * row :].any()


@rows_of_beats
def test_a_network_that_reads_no_later_beat_says_the_same_whatever_comes_after(model):
    network, row = TASKS["beat"].network(model), READS[model].row
    signal, mask, features = inputs(model, TASKS["beat"], 1)
    before = network(signal, mask, features)
    for beat in (1, 30, row - 1):
        other = features.clone()
        other[beat:] = -other[beat:]
        same = torch.equal(network(signal, mask, other)[:beat], before[:beat])
        assert same == (not READS[model].later)


@rows_of_beats
def test_a_batch_holds_whole_rows(model):
    task = TASKS["beat"]
    with pytest.raises(RuntimeError, match="unflatten"):
        task.network(model)(*task.batch(READS[model].row + 1))


def test_a_monitor_refuses_a_network_that_reads_later_beats():
    causal = QUESTIONS["beat-causal"]
    with pytest.raises(ConfigError, match="is 'beat_gru', which reads later beats") as error:
        check_model("beat_gru", causal)
    accepted = str(error.value).split("Accepted for this task: ")[1].rstrip(".").split(", ")
    assert "beat_gru_causal" in accepted
    assert "beat_gru" not in accepted
    for name in ("beat_gru_causal", "beat_mlp", "beat_cnn"):
        check_model(name, causal)
