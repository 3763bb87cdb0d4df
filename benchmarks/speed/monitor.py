"""How many times faster than real time the monitor is, how late it answers, and its memory.

    python -m benchmarks.speed.monitor --weights FILE [--hours 1,24]

One process with one thread is given the synthetic signal of `fl.monitor.demonstration` again and
again, at 360 Hz as MIT-BIH has it, and reports every beat with its class and every alarm. The speed
is that of processor time, over the whole and of the quickest minute of the signal, which other
work on the machine disturbs least. Lateness is from an R peak to the sample at which its answer
was given, plus the time that this took. Memory is what the process holds after so many hours.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil

from benchmarks.common.results_store import command, machine_description, put_between_marks
from fl.ecg.filters import resample
from fl.evaluation.decisions.thresholds import POOLED_SOURCE
from fl.monitor.beat_classifier import BeatClassifier, load_beat_model
from fl.monitor.demonstration import demonstration
from fl.monitor.stream import BLOCK_SECONDS, LATEST, Monitor
from fl.training.device import one_thread

FS = 360.0
PART_SECONDS = 60.0  # of signal between two looks at clock and memory


def measure(weights: Path, hours: Sequence[float]) -> str:
    """The lines of the table."""
    record = demonstration()
    signal = resample(record.signal, record.fs, FS)
    classifier = BeatClassifier(load_beat_model(weights, POOLED_SOURCE), POOLED_SOURCE)
    monitor = Monitor(record.leads, FS, classifier)
    block, part = round(BLOCK_SECONDS * FS), round(PART_SECONDS * FS)
    process = psutil.Process()
    memory: dict[float, float] = {}
    late: list[float] = []  # of beats, s; the largest of each part
    times: list[float] = []  # processor seconds of each part
    beats, wall, position = 0, time.perf_counter(), 0
    for number in range(round(max(hours) * 3600 / PART_SECONDS)):
        began = time.process_time()
        worst = 0.0
        for _ in range(part // block):
            places = (position + np.arange(block)) % signal.shape[1]
            position += block
            given = time.perf_counter()
            events = monitor.push(signal[:, places])
            took = time.perf_counter() - given
            for event in events:
                if event.kind == "beat":
                    beats += 1
                    worst = max(worst, event.known / FS - event.time + took)
        times.append(time.process_time() - began)
        late.append(worst)
        done = (number + 1) * PART_SECONDS / 3600
        for asked in hours:
            if asked not in memory and done >= asked:
                memory[asked] = process.memory_info().rss / 2**20
    wall = time.perf_counter() - wall
    seconds = len(times) * PART_SECONDS
    return "\n".join(
        [
            "| | |",
            "| --- | --- |",
            f"| times real time, by processor time of one core | {seconds / sum(times):,.0f} |",
            f"| the same, the quickest minute of the signal | {PART_SECONDS / min(times):,.0f} |",
            f"| times real time, by the clock | {seconds / wall:,.0f} |",
            f"| share of a core, live | {sum(times) / seconds:.2%} |",
            f"| milliseconds of processor time a beat, all included | "
            f"{1000 * sum(times) / beats:.1f} |",
            f"| seconds from an R peak to its answer: median of the latest of each minute | "
            f"{np.median(late):.2f} |",
            f"| the latest of all {beats:,} beats; {LATEST:g} is aimed at | {max(late):.2f} |",
            *(f"| MiB after {asked:g} h of signal | {memory[asked]:,.0f} |" for asked in hours),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write it to the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument(
        "--hours", type=lambda text: [float(word) for word in text.split(",")], default=[1.0, 24.0]
    )
    parser.add_argument("--results", type=Path, default=Path("docs/performance.md"))
    options = parser.parse_args(arguments)
    one_thread()
    rows = measure(options.weights, sorted(options.hours))
    made = (
        f"Made by `{command('speed.monitor', data=False)}` on {machine_description('cpu')}; "
        "synthetic signal, two leads at 360 Hz."
    )
    print(rows)
    put_between_marks(options.results, "monitor", f"{rows}\n\n{made}")


if __name__ == "__main__":
    main()
