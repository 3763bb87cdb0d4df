"""What it takes to load torch and scikit-learn: as a run does, and as they load themselves.

    python -m benchmarks.speed.imports [--turns 11]

Each is a new process, in turns. Printed are medians of processor seconds: several processes of a
run load at a time, so that the cores and not the clock are what is short.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.common.results_store import command, machine_description, put_between_marks
from fl.util.tested_versions import PUBLIC_ONLY

MODULES = ("torch", "sklearn.metrics")
WAYS = {"ours": "", "their own": "1"}  # name -> HEARTFED_PUBLIC_ONLY
CODE = """
import time, fl, numpy
from fl.util.imports.fast_import import without_garbage_collection
began = time.process_time()
with without_garbage_collection():
    import {module}
print(time.process_time() - began)
"""


def seconds(module: str, way: str) -> float:
    """Processor seconds of one import in a process of its own."""
    words = [sys.executable, "-c", CODE.format(module=module)]
    environment = os.environ | {PUBLIC_ONLY: WAYS[way]}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def table(found: dict[tuple[str, str], list[float]]) -> list[str]:
    """One line per module: both ways, and how many times as long its own way takes."""
    lines = [f"| module | {' | '.join(f'{way}, s' for way in WAYS)} | ratio |"]
    lines.append("| --- | --- | --- | --- |")
    for module in dict.fromkeys(module for module, _ in found):
        ours, theirs = (float(np.median(found[module, way])) for way in WAYS)
        lines.append(f"| `{module}` | {ours:.2f} | {theirs:.2f} | {theirs / ours:.2f} |")
    return lines


def main(given: Sequence[str] | None = None) -> None:
    """Measure all, print the table and write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    parser.add_argument("--turns", type=int, default=11)
    parser.add_argument("--results", type=Path, default=Path("docs/performance.md"))
    options = parser.parse_args(given)
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(options.turns):
        for module in MODULES:
            for way in WAYS:
                found.setdefault((module, way), []).append(seconds(module, way))
    made = f"Made by `{command('speed.imports', data=False)}` on {machine_description('cpu')}."
    text = "\n".join([*table(found), "", made])
    print(text)
    put_between_marks(options.results, "imports", text)


if __name__ == "__main__":
    main()
