"""Both directions of the default network's LSTM in one product a step, beside torch's own layer.

    python -m benchmarks.speed.lstm_directions [--results FILE]

Torch reads a sequence forwards, then backwards. Here one product of matrices a step serves both
directions of a batch, and one call makes what all steps take from the input. Forward and backward
are timed in turns on one thread; outputs and gradients are compared.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.common.results_store import command, machine_description, put_between_marks
from benchmarks.speed.train import timed
from fl.training.device import one_thread

BATCH, STEPS, WIDTH, HIDDEN = 8, 63, 64, 32  # of a ten-second recording in the default network
TURNS, REPEATS = 9, 20


def both_directions(layer: nn.LSTM, sequence: Tensor) -> Tensor:
    """What a bidirectional layer gives: (batch, time, channel) -> (batch, time, 2 * hidden)."""
    names = ("", "_reverse")
    inputs, recurrent, first, second = (
        torch.stack([getattr(layer, f"{kind}_l0{name}") for name in names])
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    both = torch.stack([sequence, sequence.flip(1)]).flatten(1, 2)  # (2, batch * time, channel)
    taken = torch.baddbmm((first + second)[:, None], both, inputs.transpose(1, 2))
    steps = taken.unflatten(1, sequence.shape[:2]).unbind(2)  # of each step (2, batch, 4 * hidden)
    turned = recurrent.transpose(1, 2)
    hidden = sequence.new_zeros(2, len(sequence), layer.hidden_size)
    cell, found = hidden, []
    for step in steps:
        gates = torch.baddbmm(step, hidden, turned)
        enter, forget, new, leave = gates.chunk(4, dim=2)
        cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
        hidden = leave.sigmoid() * cell.tanh()
        found.append(hidden)
    forwards, backwards = torch.stack(found, dim=2)
    return torch.cat([forwards, backwards.flip(1)], dim=2)


def gradients(layer: nn.LSTM, output: Tensor) -> list[Tensor]:
    """The gradient of the output's squares, by parameter."""
    return list(torch.autograd.grad(output.square().mean(), list(layer.parameters())))


def main() -> None:
    """Compare, time, print and write the line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    parser.add_argument("--results", type=Path, default=Path("docs/performance.md"))
    options = parser.parse_args()
    one_thread()
    torch.manual_seed(0)
    layer = nn.LSTM(WIDTH, HIDDEN, batch_first=True, bidirectional=True)
    sequence = torch.randn(BATCH, STEPS, WIDTH)
    ways = {"torch": lambda: layer(sequence)[0], "both": lambda: both_directions(layer, sequence)}
    outputs = [way() for way in ways.values()]
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(*(gradients(layer, output) for output in outputs))

    def passes(name: str) -> None:
        for _ in range(REPEATS):
            gradients(layer, ways[name]())

    turns = [{name: timed(lambda n=name: passes(n)) for name in ways} for _ in range(TURNS)]
    torch_ms = min(turn["torch"] for turn in turns) / REPEATS * 1e3
    ratios = sorted(turn["both"] / turn["torch"] for turn in turns)
    text = (
        f"Forward and backward of one bidirectional layer ({BATCH} recordings, {STEPS} steps, "
        f"{HIDDEN} units each way): torch's own {torch_ms:.1f} ms; both directions in one product "
        f"a step take {ratios[TURNS // 2]:.2f} times as long ({ratios[0]:.2f} to {ratios[-1]:.2f})."
    )
    print(text)
    made = command("speed.lstm_directions", data=False)
    note = f"Made by `{made}` on {machine_description('cpu')}, one thread, seed 0."
    put_between_marks(options.results, "lstm-directions", f"{text}\n\n{note}")


if __name__ == "__main__":
    main()
