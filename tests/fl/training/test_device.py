"""Precision and memory on a GPU, as far as a CPU can show them; `test_on_gpu.py` has the rest."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from fl.ecg.tasks import BEAT, RHYTHM
from fl.models import MODELS, build_network
from fl.models.blocks import Conv, SignalDropout
from fl.training.device import mixed_precision
from fl.training.loop import TrainingPlan, fit, predict
from fl.training.losses import mean_loss, task_loss
from fl.util.gpu_memory import free_gpu_memory, limit_gpu_memory

SMALL = sorted(name for name in MODELS if not name.endswith("_large"))
PLAN = TrainingPlan(
    seed=0, site="a", round=1, rounds=1, epochs=8, batch_size=8, lr=5e-3, weight_decay=0.01
)


def without_dropout(model, task):
    """A network whose training has no randomness."""
    torch.manual_seed(0)
    network = build_network(model, task)
    for module in network.modules():
        if isinstance(module, nn.Dropout | SignalDropout):
            module.p = 0.0
    return network.train()


def output_types(network):
    """The output types of convolutions and of LSTMs; filled in when the network is applied."""
    types = {}

    def note(module, inputs, output):
        tensor = output[0] if type(output) is tuple else output
        types.setdefault(type(module), set()).add(tensor.dtype)

    for module in network.modules():
        if isinstance(module, Conv | nn.LSTM):
            module.register_forward_hook(note)
    return types


def logits_and_gradient(network, batch, task, bfloat16):
    """Logits, and the gradient of all weights in one row."""
    with mixed_precision("cpu", bfloat16):
        logits = network(batch.signal, batch.lead_mask, batch.features)
    loss = task_loss(task, logits, batch.labels)
    grads = torch.autograd.grad(loss, list(network.parameters()), materialize_grads=True)
    return logits, torch.cat([grad.reshape(-1) for grad in grads])


@pytest.mark.parametrize("model", SMALL)
def test_bfloat16_gives_nearly_the_logits_and_gradients_of_float32(model, cohort, beats):
    data, n = (beats, 64) if model.startswith("beat_") else (cohort, 16)  # 64: a row of beats
    rows = np.linspace(0, len(data) - 1, n).astype(np.int64)
    batch = data.batch(rows, np.zeros(len(rows), dtype=np.int64))
    network = without_dropout(model, data.task)
    exact, exact_gradient = logits_and_gradient(network, batch, data.task, False)
    rounded, rounded_gradient = logits_and_gradient(network, batch, data.task, True)
    assert rounded.dtype == rounded_gradient.dtype == torch.float32
    # Processors with units of their own for bfloat16 (AMX) round more than others: up to .22 in a
    # logit of the recurrent networks, and to .93 in the cosine.
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.3)
    assert torch.cosine_similarity(exact_gradient, rounded_gradient, dim=0) > 0.9
    assert 0.9 < exact_gradient.norm() / rounded_gradient.norm() < 1.1
    assert not torch.equal(rounded, exact)


@pytest.mark.parametrize("model", ["reslstm_temporalse", "cnn_lstm"])
def test_convolutions_use_bfloat16_and_lstms_do_not(model, cohort):
    network = without_dropout(model, RHYTHM)
    types = output_types(network)
    batch = cohort.batch(np.arange(4), np.zeros(4, dtype=np.int64))
    logits_and_gradient(network, batch, RHYTHM, True)
    assert types == {Conv: {torch.bfloat16}, nn.LSTM: {torch.float32}}


@pytest.mark.parametrize("task", [RHYTHM, BEAT], ids=["rhythm", "beat"])
def test_training_in_bfloat16_learns(task, few, beats):
    cohort = few if task is RHYTHM else beats.take(np.arange(64))
    network = without_dropout("resnet1d" if task is RHYTHM else "beat_cnn", task)
    before = mean_loss(task, cohort.labels, predict(network, cohort))
    fitted = fit(network, cohort, TrainingPlan(**(vars(PLAN) | {"bf16": True})))
    after = mean_loss(task, cohort.labels, predict(network, cohort, bf16=True))
    assert after < before
    assert after == pytest.approx(mean_loss(task, cohort.labels, predict(network, cohort)), rel=0.1)
    assert all(weights.dtype == torch.float32 for weights in network.parameters())
    assert math.isfinite(fitted.loss_sum)


def test_a_cpu_uses_float32_unless_told_otherwise(few):
    network = without_dropout("resnet1d", RHYTHM)
    types = output_types(network)
    fit(network, few, TrainingPlan(**(vars(PLAN) | {"epochs": 1})))
    predict(network, few)
    assert types == {Conv: {torch.float32}}


class FakeGPU:
    """Answers as torch.cuda does on a GPU of 1,000 bytes, of which other processes use 300."""

    def __init__(self, monkeypatch, reserved=0):
        self.fraction = 1.0
        for name, answer in {
            "is_available": lambda: True,
            "mem_get_info": lambda device: (700 - reserved, 1000),
            "memory_reserved": lambda device: reserved,
            "get_per_process_memory_fraction": lambda: self.fraction,
            "set_per_process_memory_fraction": lambda share: setattr(self, "fraction", share),
        }.items():
            monkeypatch.setattr(torch.cuda, name, answer)


def test_a_worker_gets_its_share_of_the_memory_and_no_more_than_is_free(monkeypatch):
    fake, device = FakeGPU(monkeypatch, reserved=50), torch.device("cuda")
    assert free_gpu_memory(device) == 650
    limit_gpu_memory(0.25)
    assert fake.fraction == pytest.approx(0.9 * 0.25)
    assert free_gpu_memory(device) == pytest.approx(225 - 50)
    limit_gpu_memory(0.01)
    assert free_gpu_memory(device) == 0


def test_without_a_gpu_memory_is_not_limited():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    limit_gpu_memory(0.5)
    assert free_gpu_memory(torch.device("cpu")) == math.inf
