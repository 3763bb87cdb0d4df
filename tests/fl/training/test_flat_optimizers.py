"""Our optimizers take the same steps as torch's, to the bit, without loading its compiler."""

import subprocess
import sys
import textwrap

import pytest
import torch
from torch import nn

from fl.training.flat_optimizers import SGD, AdamW

FACTORS, DECAY = (1.0, 2.0), 0.01


def rows():
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(n)) for n in (1001, 37)]


def groups(weights):
    return [{"params": [row], "rate": rate} for row, rate in zip(weights, FACTORS, strict=True)]


@pytest.mark.parametrize("kind", ["adamw", "sgd", "momentum"])
def test_an_optimizer_takes_torchs_steps_and_keeps_the_same_state(kind):
    our_rows, torch_rows = rows(), rows()
    if kind == "adamw":
        ours = AdamW(rows=our_rows, rate_factors=FACTORS, weight_decay=DECAY)
        reference = torch.optim.AdamW(groups(torch_rows), weight_decay=DECAY, fused=True)
    else:
        momentum = 0.9 if kind == "momentum" else 0.0
        ours = SGD(rows=our_rows, rate_factors=FACTORS, weight_decay=DECAY, momentum=momentum)
        reference = torch.optim.SGD(groups(torch_rows), weight_decay=DECAY, momentum=momentum)
    for step in range(20):
        lr = 1e-3 * (1 + step % 5)
        for row, torch_row in zip(our_rows, torch_rows, strict=True):
            row.grad = torch.randn_like(row)
            torch_row.grad = row.grad.clone()
        for group in reference.param_groups:
            group["lr"] = group["rate"] * lr
        ours.step(lr)
        reference.step()
    for row, torch_row in zip(our_rows, torch_rows, strict=True):
        assert torch.equal(row, torch_row)
        expected = {name: x for name, x in reference.state[torch_row].items() if x is not None}
        assert ours.state[row].keys() == expected.keys()
        for name, value in expected.items():
            assert torch.equal(ours.state[row][name], value)


def test_training_does_not_load_torchs_compiler():
    code = """
        import sys, torch
        from fl.training.flat_optimizers import AdamW, SGD

        row = torch.nn.Parameter(torch.ones(3))
        row.grad = torch.ones(3)
        for kind in (AdamW, SGD):
            kind(rows=[row], rate_factors=[1.0], weight_decay=0.01).step(0.1)
        torch.nn.utils.clip_grad_norm_([row], 1.0)
        print("torch._dynamo" in sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
