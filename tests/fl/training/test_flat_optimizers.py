"""Our optimizers take the steps of torch's, to the bit, and load less."""

import subprocess
import sys
import textwrap

import pytest
import torch
from torch import nn

from fl.training.flat_optimizers import SGD, AdamW

RATES, DECAY = (1.0, 2.0), 0.01


def rows():
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(n)) for n in (1001, 37)]


def groups(weights):
    return [{"params": [row], "rate": rate} for row, rate in zip(weights, RATES, strict=True)]


@pytest.mark.parametrize("kind", ["adamw", "sgd", "momentum"])
def test_an_optimizer_takes_torchs_steps_and_remembers_what_torchs_does(kind):
    mine, theirs = rows(), rows()
    if kind == "adamw":
        ours = AdamW(rows=mine, rates=RATES, weight_decay=DECAY)
        known = torch.optim.AdamW(groups(theirs), weight_decay=DECAY, fused=True)
    else:
        momentum = 0.9 if kind == "momentum" else 0.0
        ours = SGD(rows=mine, rates=RATES, weight_decay=DECAY, momentum=momentum)
        known = torch.optim.SGD(groups(theirs), weight_decay=DECAY, momentum=momentum)
    for step in range(20):
        lr = 1e-3 * (1 + step % 5)
        for here, there in zip(mine, theirs, strict=True):
            here.grad = torch.randn_like(here)
            there.grad = here.grad.clone()
        for group in known.param_groups:
            group["lr"] = group["rate"] * lr
        ours.step(lr)
        known.step()
    for here, there in zip(mine, theirs, strict=True):
        assert torch.equal(here, there)
        expected = {name: x for name, x in known.state[there].items() if x is not None}
        assert ours.state[here].keys() == expected.keys()
        for name, value in expected.items():
            assert torch.equal(ours.state[here][name], value)


def test_training_does_not_load_torchs_compiler():
    code = """
        import sys, torch
        from fl.training.flat_optimizers import AdamW, SGD

        row = torch.nn.Parameter(torch.ones(3))
        row.grad = torch.ones(3)
        for kind in (AdamW, SGD):
            kind(rows=[row], rates=[1.0], weight_decay=0.01).step(0.1)
        torch.nn.utils.clip_grad_norm_([row], 1.0)
        print("torch._dynamo" in sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
