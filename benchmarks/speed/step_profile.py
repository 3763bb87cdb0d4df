"""Where the time of a training step goes, for the default network of each task, on one thread.

    python -m benchmarks.speed.step_profile [--records 512] [--results FILE]

Whole training steps as `fl.training.loop.fit` does them, under `torch.profiler`: the time that each
kind of operation takes by itself, forward and backward together, as a share of the time of all.
What no operation of torch takes is Python's and NumPy's: batches, augmentation, bookkeeping. The
share of the machine's rate is that of the floating-point operations of forward and backward over
what this thread reaches where it multiplies matrices, without the profiler. Records are made.
"""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch.profiler import ProfilerActivity, profile

from benchmarks.common.results_store import command, machine_description, put_between_marks
from benchmarks.speed.peer_adapters.workload import write_records
from benchmarks.speed.train import multiply_rate, one_pass, operations, steps, timed
from fl.data.cohort import Cohort
from fl.ecg.tasks import TASKS, Task
from fl.models import build_network
from fl.training.device import one_thread
from fl.training.loop import fit

# Kinds of operations, by words in torch's names for them; the first that fits counts.
KINDS: Mapping[str, tuple[str, ...]] = {
    "convolutions": ("conv",),
    "recurrent layers": ("rnn", "lstm", "gru"),
    "matrix products": ("mm", "matmul", "linear"),
    "normalisation": ("norm",),
}
REST, OUTSIDE = "other operations", "outside torch"


def time_shares(task: Task, cohort: Cohort) -> dict[str, float]:
    """The share of a training pass's time by kind of operation; they add up to 1."""
    network = build_network(task.model, task)
    plan = one_pass(task=task)
    fit(network, cohort, plan)  # not counted: it loads what later passes reuse
    with profile(activities=[ProfilerActivity.CPU]) as found:
        whole = timed(lambda: fit(network, cohort, plan)) * 1e6  # in microseconds, as torch counts
    shares = dict.fromkeys((*KINDS, REST), 0.0)
    for event in found.key_averages():
        shares[kind_of(event.key)] += event.self_cpu_time_total / whole
    return shares | {OUTSIDE: max(1 - sum(shares.values()), 0.0)}


def kind_of(operation: str) -> str:
    """The kind of an operation, by its name in torch."""
    for kind, words in KINDS.items():
        if any(word in operation for word in words):
            return kind
    return REST


def share_of_rate(task: Task, cohort: Cohort) -> float:
    """Operations per second of forward and backward over those of a large matrix product."""
    network, size = build_network(task.model, task), task.batch_size
    starts = np.zeros(size, dtype=np.int64)
    first = range(0, min(len(cohort), 8 * size) - size + 1, size)
    batches = [cohort.batch(np.arange(i, i + size), starts) for i in first]
    steps(network, batches, task)  # not counted
    seconds = min(timed(lambda: steps(network, batches, task)) for _ in range(5))
    done = operations(network, batches[0], task) * size * len(batches)
    return done / seconds / multiply_rate()


def default_networks() -> dict[str, Task]:
    """One task for each network that is some task's default."""
    found: dict[str, Task] = {}
    for task in TASKS.values():
        found.setdefault(task.model, task)
    return found


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    parser.add_argument("--records", type=int, default=512)
    parser.add_argument("--results", type=Path, default=Path("docs/performance.md"))
    options = parser.parse_args()
    one_thread()
    kinds = [*KINDS, REST, OUTSIDE]
    text = [
        f"| network | task | share of the rate | {' | '.join(kinds)} |",
        f"| --- | --- | --- |{' --- |' * len(kinds)}",
    ]
    for name, task in default_networks().items():
        with tempfile.TemporaryDirectory() as folder:
            write_records(Path(folder), task, options.records, seed=0)
            cohort = Cohort.open(task, [Path(folder)])
            shares = time_shares(task, cohort)
            rate = share_of_rate(task, cohort)
        cells = [f"{shares[kind]:.0%}" for kind in kinds]
        text.append(f"| {name} | {task.name} | {rate:.0%} | {' | '.join(cells)} |")
    print("\n".join(text))
    made = command("speed.step_profile", data=False)
    note = f"Made by `{made}` on {machine_description('cpu')}, one thread, synthetic records."
    put_between_marks(options.results, "step-profile", "\n".join([*text, "", note]))


if __name__ == "__main__":
    main()
