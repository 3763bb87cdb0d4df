"""Heartbeats that one core draws as pictures per second, and trains and predicts a network on.

    python -m benchmarks.speed.beat_pictures [--repeats 20]

Drawing is `fl.models.beat_picture`, from the signal of a beat in memory to its picture of 128 x 128
pixels. Training is forward and backward without an optimizer, in batches as the beat7 task has
them; the network draws the pictures itself. The time is the processor's, which other work
lengthens least, and the best of the repetitions is reported. Beats are random walks: a picture
costs the same whatever it shows.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.common.results_store import command, machine_description, put_between_marks
from fl.ecg.tasks import BEAT7
from fl.models import build_network
from fl.models.beat_picture import BeatPicture

DRAWN_AT_ONCE = 128


def measure(repeats: int, network: str = "cnn2d") -> dict[str, float]:
    """Beats per second of processor time, by what is done with them."""
    torch.set_num_threads(1)
    model = build_network(network, BEAT7)
    labels = torch.arange(BEAT7.batch_size) % len(BEAT7.classes)

    def draw(signal: Tensor, mask: Tensor) -> None:
        with torch.inference_mode():
            BeatPicture()(signal, mask)

    def train(signal: Tensor, mask: Tensor) -> None:
        logits = model.train()(signal, mask, signal[:, 0, :0])
        F.cross_entropy(logits, labels).backward()

    def predict(signal: Tensor, mask: Tensor) -> None:
        with torch.inference_mode():
            model.eval()(signal, mask, signal[:, 0, :0])

    return {
        "drawn": _per_second(draw, DRAWN_AT_ONCE, repeats),
        f"trained on, {network}": _per_second(train, BEAT7.batch_size, repeats),
        f"predicted, {network}": _per_second(predict, DRAWN_AT_ONCE, repeats),
    }


def _per_second(work: Callable[[Tensor, Tensor], None], n: int, repeats: int) -> float:
    walk = torch.randn(n, 1, BEAT7.samples, generator=torch.Generator().manual_seed(0)).cumsum(2)
    signal, mask = 2 * walk / (walk.amax(2, True) - walk.amin(2, True)), torch.ones(n, 1)
    best = float("inf")
    for _ in range(repeats + 1):  # the first call also prepares
        began = time.process_time()
        work(signal, mask)
        best = min(best, time.process_time() - began)
    return n / best


def table(rates: dict[str, float]) -> str:
    """The rates as a table."""
    rows = [f"| {name} | {rate:,.0f} |" for name, rate in rates.items()]
    return "\n".join(["| heartbeats | per second on one core |", "| --- | --- |", *rows])


def main() -> None:
    """Measure, print the table and write it to the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--results", type=Path, default=Path("docs/performance.md"))
    options = parser.parse_args()
    text = table(measure(options.repeats))
    print(text)
    note = (
        f"Made by `{command('speed.beat_pictures', data=False)}` on "
        f"{machine_description('cpu')}, one process."
    )
    put_between_marks(options.results, "beat-pictures", f"{text}\n\n{note}")


if __name__ == "__main__":
    main()
