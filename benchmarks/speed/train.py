"""Training speed of the networks on one thread, and the machine's speed of multiplying matrices.

    python -m benchmarks.speed.train [--records 5500] [--json FILE] [--results FILE]

For each network: records per second of whole training steps as `fl.training.loop.fit` does them
(batches cut from the cache, augmentation, forward, backward, AdamW), of forward and backward
only, and of prediction; the floating-point operations of a step; and their rate as a share of the
rate at which this thread multiplies matrices. `plain` is the default network with its training step
written plainly in eager torch (`plain_training.py`), and the ratio of the two is printed. The
networks take turns, and the fastest turn of each counts. Data: synthetic twelve-lead recordings,
(12, 1000) samples at a time.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common.plots import bars, svg
from benchmarks.common.results_store import command, machine_description, put_between_marks
from benchmarks.speed.plain_training import PlainResLSTM, loss_of, records_of
from benchmarks.speed.plain_training import train as train_plainly
from fl.data.cohort import Cohort
from fl.data.example_cache import prepare
from fl.datasets.synthetic import SYNTHETIC
from fl.ecg.tasks import RHYTHM_SIGNAL, Task
from fl.models import Network, build_network, models_for, parameters
from fl.training.device import one_thread
from fl.training.loop import TrainingPlan, fit, predict
from fl.training.losses import task_loss
from fl.util.atomic_io import write_atomically

NETWORKS = [
    name
    for name in models_for(RHYTHM_SIGNAL)
    if not name.startswith("beat_") and not name.endswith("_large")
]
DEFAULT, PLAIN = RHYTHM_SIGNAL.model, "plain"
BATCH = RHYTHM_SIGNAL.batch_size
SIDE = 1024  # of the matrices that are multiplied


def timed(work: Callable[[], Any]) -> float:
    """Seconds that the work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def multiply_rate() -> float:
    """Floating-point operations per second of a large matrix product on this thread."""
    a, b = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    torch.mm(a, b)
    return 2 * SIDE**3 / min(timed(lambda: torch.mm(a, b)) for _ in range(5))


def steps(network: Network, batches: list[Any], task: Task = RHYTHM_SIGNAL) -> None:
    """Forward and backward passes only, over batches that are cut already."""
    network.train()
    for batch in batches:
        logits = network(batch.signal, batch.lead_mask, batch.features)
        loss = task_loss(task, logits, batch.labels)
        network.zero_grad(set_to_none=True)
        loss.backward()


def operations(network: Network, batch: Any, task: Task = RHYTHM_SIGNAL) -> float:
    """Floating-point operations of forward and backward per record, as torch counts them.

    torch does not count LSTM layers, so they are added here: the matrix products of the four gates
    per time step and direction, and twice as many in the backward pass.
    """
    total = 0.0

    def lstm(module: torch.nn.LSTM, given: Any, made: Any) -> None:
        nonlocal total
        n, length, _ = given[0].shape
        for layer in range(module.num_layers):
            directions = 2 if module.bidirectional else 1
            size = module.input_size if layer == 0 else module.hidden_size * directions
            gates = 4 * module.hidden_size * (size + module.hidden_size)
            total += 3 * 2 * n * length * directions * gates

    handles = [
        m.register_forward_hook(lstm) for m in network.modules() if isinstance(m, torch.nn.LSTM)
    ]
    with FlopCounterMode(display=False) as counter:
        steps(network, [batch], task)
    for handle in handles:
        handle.remove()
    return (total + counter.get_total_flops()) / len(batch.signal)


def one_pass(
    device: str = "cpu", bf16: bool | None = None, task: Task = RHYTHM_SIGNAL
) -> TrainingPlan:
    """A plan of one epoch with the settings of a task's training."""
    return TrainingPlan(
        seed=0,
        site="all",
        round=1,
        rounds=1,
        epochs=1,
        batch_size=task.batch_size,
        lr=2e-3,
        weight_decay=0.01,
        augment=task.augment,
        device=device,
        bf16=bf16,
    )


def measure(name: str, cohort: Cohort, batches: list[Any]) -> dict[str, float]:
    """One turn of one network: records per second."""
    torch.manual_seed(0)
    network = build_network(name, RHYTHM_SIGNAL)
    plan = one_pass()
    n, seen = len(cohort), sum(len(b.signal) for b in batches)
    return {
        "training": n / timed(lambda: fit(network, cohort, plan)),
        "forward and backward": seen / timed(lambda: steps(network, batches)),
        "prediction": n / timed(lambda: predict(network, cohort, crops=1)),
    }


def measure_plain(cohort: Cohort, batches: list[Any]) -> dict[str, float]:
    """One turn of the plain default network: records per second.

    In a process of its own, because `fl` changes how a process allocates memory.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measure_plain, cohort, batches).result()


def _measure_plain(cohort: Cohort, batches: list[Any]) -> dict[str, float]:
    one_thread()
    torch.manual_seed(0)
    network = PlainResLSTM()
    n, seen = len(cohort), sum(len(b.signal) for b in batches)
    data = records_of(cohort)

    def steps() -> None:
        for batch in batches:
            network.zero_grad()
            loss_of(network(batch.signal, batch.lead_mask), batch.labels).backward()

    @torch.no_grad()
    def apply() -> None:
        network.eval()
        for batch in batches:
            network(batch.signal, batch.lead_mask)

    train_plainly(network, data, BATCH, 2e-3)  # not counted: it loads what later epochs reuse
    return {
        "training": n / timed(lambda: train_plainly(network, data, BATCH, 2e-3)),
        "forward and backward": seen / timed(steps),
        "prediction": seen / timed(apply),
    }


def draw(found: Mapping[str, Mapping[str, float]]) -> bytes:
    """The plot as SVG: records per second of each network."""
    figure = Figure(figsize=(9.0, 0.9 + 0.55 * len(found)), layout="constrained")
    axes = figure.subplots()
    work = ("training", "forward and backward", "prediction")
    bars(axes, list(found), {kind: [row[kind] for row in found.values()] for kind in work})
    axes.set_xlabel("records per second on one thread")
    return svg(figure)


def main() -> None:
    """Measure in turns; print and write the table and the plot."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--records", type=int, default=5500, help="of the pass that is timed")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path("docs/performance-train.json"))
    parser.add_argument("--results", type=Path, default=Path("docs/performance.md"))
    options = parser.parse_args()
    one_thread()
    with tempfile.TemporaryDirectory() as folder:
        source = replace(SYNTHETIC, n_records=256, seconds=(10.0, 12.0))
        cohort = Cohort.open(
            RHYTHM_SIGNAL, [prepare(source, Path(folder), RHYTHM_SIGNAL, Path(folder))]
        )
        order = np.arange(len(cohort))
        starts = np.zeros(len(cohort), dtype=np.int64)
        batches = [cohort.batch(order[i : i + BATCH], starts[:BATCH]) for i in range(0, 128, BATCH)]
        turns = [
            {PLAIN: measure_plain(cohort, batches)}
            | {name: measure(name, cohort, batches) for name in NETWORKS}
            for _ in range(options.turns)
        ]
    rate = multiply_rate()
    result: dict[str, Any] = {
        "machine": machine_description("cpu"),
        "multiply": rate,
        "networks": {},
    }
    text = [
        f"One thread; batches of {BATCH}; {rate / 1e9:.0f} GFLOP/s multiplying matrices.",
        "",
        "| network | weights | training, records/s | forward and backward | prediction "
        f"| MFLOP per record | share of the rate | s for {options.records:,} records |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in (PLAIN, *NETWORKS):
        network = build_network(DEFAULT if name == PLAIN else name, RHYTHM_SIGNAL)
        best = {key: max(turn[name][key] for turn in turns) for key in turns[0][name]}
        flops = operations(network, batches[0])
        share = flops * best["forward and backward"] / rate
        seconds = options.records / best["training"]
        result["networks"][name] = best | {"flops": flops, "share": share, "seconds": seconds}
        cells = [f"{best[key]:.0f}" for key in best]
        text.append(
            f"| {name} | {parameters(network):,} | {' | '.join(cells)} | {flops / 1e6:.0f} "
            f"| {share:.0%} | {seconds:.1f} |"
        )
    found = result["networks"]
    result["ratio"] = found[DEFAULT]["training"] / found[PLAIN]["training"]
    text += ["", f"{DEFAULT} trains {result['ratio']:.2f} times as fast as written plainly."]
    print("\n".join(text))
    options.json.write_text(json.dumps(result, indent=1))
    plot = options.results.with_name("performance-train.svg")
    write_atomically(plot, draw(found))
    note = (
        f"Made by `{command('speed.train', data=False)}` on {result['machine']}, synthetic, seed 0."
    )
    picture = f"![Records per second by network]({plot.name})"
    put_between_marks(options.results, "train", "\n".join([*text, "", picture, "", note]))


if __name__ == "__main__":
    main()
