"""Milliseconds that a recording's beat features, and its beat examples, take on one core.

    python -m benchmarks.speed.beat_features --data-dir DATA [--records mitdb/116] [--repeats 50]

The features are `beat_features` of the annotated beats, already cut out of the recording. The
examples are everything from the recording in memory to the examples in memory: resampling,
baseline, windows, median beat and features. Reading the files is not included. The kinds take
turns, and the shortest of the repetitions is reported, which other work of the machine disturbs
least.
"""

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.common.results_store import command, machine_description, put_between_marks
from fl.datasets import DATASETS
from fl.ecg.beat_examples import BeatExampleMaker
from fl.ecg.beat_features import beat_features
from fl.ecg.beat_segments import annotated_beats
from fl.ecg.records import Record


def measure(record: Record, repeats: int) -> str:
    """A row of the table for each of whole-recording and causal features."""
    assert record.annotations is not None
    peaks, _ = annotated_beats(record.annotations)
    work: list[Callable[[], object]] = []
    for causal in (False, True):
        maker = BeatExampleMaker(causal=causal)
        beats, seconds = maker.beats(record, peaks), peaks / record.fs
        work += [partial(beat_features, beats, seconds, causal=causal), partial(maker, record)]
    turns = [[milliseconds(job) for job in work] for _ in range(repeats)]
    best = [min(times) for times in zip(*turns, strict=True)]
    minutes = record.signal.shape[1] / record.fs / 60
    name = f"{record.source}/{record.name}, {minutes:.0f} min, {record.fs:.0f} Hz"
    return "\n".join(
        f"| {name} | {len(peaks):,} | {use} | {best[i]:.1f} | {best[i + 1]:.1f} |"
        for i, use in ((0, "whole recording"), (2, "causal"))
    )


def milliseconds(job: Callable[[], object]) -> float:
    began = time.perf_counter()
    job()
    return (time.perf_counter() - began) * 1000


def main() -> None:
    """Measure, print the table and write it to the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--data-dir", type=Path, default=Path(os.environ.get("ECG_DATA") or "data"))
    parser.add_argument("--records", default="mitdb/116", help="source/record, more by commas")
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--results", type=Path, default=Path("docs/performance.md"))
    options = parser.parse_args()
    header = "| recording | beats | features use | features, ms | examples, ms |"
    rows = [header, "| --- " * 5 + "|"]
    for word in options.records.split(","):
        source, _, name = word.partition("/")
        if source not in DATASETS or not name:
            known = ", ".join(DATASETS)
            parser.error(f"--records {word}: give source/record; known sources: {known}")
        rows.append(measure(DATASETS[source].read(options.data_dir, name), options.repeats))
    print("\n".join(rows))
    where = f"{machine_description('cpu')}, one process"
    note = f"Made by `{command('speed.beat_features')}` on {where}."
    put_between_marks(options.results, "beat-features", "\n".join([*rows, "", note]))


if __name__ == "__main__":
    main()
