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


def steps_of(kind, clip=None, **options):
    """Weights after five steps at a rate of 0.1, from anchors at one."""
    weights = rows()
    ours = kind(rows=weights, rate_factors=FACTORS, weight_decay=0.0, **options)
    torch.manual_seed(1)
    found = []
    for _ in range(5):
        for row in weights:
            row.grad = torch.randn_like(row)
        if clip:
            nn.utils.clip_grad_norm_(weights, clip)
        ours.step(0.1)
        found.append([row.detach().clone() for row in weights])
    return found


@pytest.mark.parametrize("kind", [AdamW, SGD])
@pytest.mark.parametrize("clip", [None, 1e-3])
def test_the_pull_of_a_step_is_the_rate_times_its_strength_times_the_distance(kind, clip):
    anchors = [torch.ones_like(row) for row in rows()]
    plain = steps_of(kind, clip)
    pulled = steps_of(kind, clip, pull=0.5, anchors=anchors)
    # The gradients are given, so that the optimizer's own steps are the same in both.
    before = before_pulled = rows()
    for after, after_pulled in zip(plain, pulled, strict=True):
        for i, factor in enumerate(FACTORS):
            pull = (after_pulled[i] - before_pulled[i]) - (after[i] - before[i])
            expected = 0.1 * factor * 0.5 * (anchors[i] - before_pulled[i])
            torch.testing.assert_close(pull, expected.detach(), rtol=0, atol=2e-6)
        before, before_pulled = after, after_pulled


def test_a_pull_goes_to_the_anchor_and_no_further():
    row = nn.Parameter(torch.tensor([3.0]))
    row.grad = torch.zeros(1)
    given = {"rows": [row], "rate_factors": [1.0], "weight_decay": 0.0}
    SGD(**given, pull=1000.0, anchors=[torch.tensor([0.5])]).step(0.1)
    assert row.item() == 0.5


def test_under_plain_sgd_the_pull_is_a_step_on_the_proximal_term():
    row, reference = (nn.Parameter(torch.tensor([3.0, -1.0])) for _ in range(2))
    anchor, slope = torch.tensor([0.5, 0.5]), torch.tensor([1.0, -2.0])
    ours = SGD(rows=[row], rate_factors=[1.0], weight_decay=0.0, pull=0.7, anchors=[anchor])
    torchs = torch.optim.SGD([reference], lr=0.1)
    for _ in range(5):
        row.grad = slope * row.detach()
        ours.step(0.1)
        torchs.zero_grad()
        term = 0.7 / 2 * (reference - anchor).pow(2).sum()
        ((slope * reference.pow(2)).sum() / 2 + term).backward()
        torchs.step()
    torch.testing.assert_close(row, reference)


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
