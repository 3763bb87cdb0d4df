"""The same job by several revisions of this project, in turns on one machine.

    git worktree add ../before f1013de
    python -m benchmarks.speed.revisions --checkout f1013de=../before --checkout now=. -- \
        --clients 8 --data-dir /DATA

What follows `--` are flags of `run_sim.py` that all of them know, with whole paths. How fast a
machine is differs between days by a factor of two, so that seconds of two days compare nothing.
Every revision runs in its own folder, in the environment of this one; the second turn is in the
opposite order.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.common.process_watch import ProcessWatch
from benchmarks.common.results_store import command, machine_description, put_between_marks
from fl.util.child_process import handle_stop_signals

GIB = 2**30


class Took(NamedTuple):
    """What one run took."""

    seconds: float
    peak: int  # bytes of all processes


def run_once(checkout: Path, flags: Sequence[str]) -> Took:
    """One run of `run_sim.py` of a checkout; ends this program if it fails."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as output:
        words = [sys.executable, "run_sim.py", *flags, "--out", folder]
        began = time.monotonic()
        process = subprocess.Popen(
            words, cwd=checkout, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        with ProcessWatch(process.pid) as watch:
            try:
                code = process.wait()
                seconds = time.monotonic() - began
            finally:
                watch.end_all()
        if code:
            output.seek(0)
            sys.exit(f"{checkout}: exit code {code}\n{output.read()[-3000:]}")
    return Took(seconds, watch.peak)


def table(found: Mapping[str, Sequence[Took]]) -> list[str]:
    """One line per revision: seconds and memory of each turn, and their median beside the first."""
    first = next(iter(found.values()))
    lines = ["| revision | start to finish, s | relative | peak memory, GiB | relative |"]
    lines.append("| --- | --- | --- | --- | --- |")
    for name, turns in found.items():
        cells = [name]
        for column, scale, digits in ((0, 1.0, 0), (1, GIB, 2)):
            values = [turn[column] for turn in turns]
            ratios = [turn[column] / of[column] for turn, of in zip(turns, first, strict=True)]
            cells.append(", ".join(f"{value / scale:.{digits}f}" for value in values))
            cells.append(f"{np.median(ratios):.2f}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main(given: Sequence[str] | None = None) -> None:
    """Run all revisions in turns, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    parser.add_argument(
        "--checkout",
        action="append",
        required=True,
        metavar="NAME=FOLDER",
        help="a revision and where it is checked out; the first is what others are compared with",
    )
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--results", type=Path, default=Path("docs/performance.md"))
    parser.add_argument("--marks", default="revisions", help="where in it the table stands")
    parser.add_argument("flags", nargs="*", help="flags of run_sim.py, after --")
    options = parser.parse_args(given)
    if not all(word.partition("=")[2] for word in options.checkout):
        parser.error("--checkout takes NAME=FOLDER")
    folders = {
        name: Path(folder) for name, _, folder in (c.partition("=") for c in options.checkout)
    }
    for name, folder in folders.items():
        if not (folder / "run_sim.py").is_file():
            parser.error(f"--checkout {name}: {folder} holds no run_sim.py")
    handle_stop_signals()  # so that the processes started here end with this one
    found: dict[str, list[Took]] = {name: [] for name in folders}
    for turn in range(options.turns):
        for name in list(folders)[:: -1 if turn % 2 else 1]:
            found[name].append(run_once(folders[name], options.flags))
            print(f"{name}: {found[name][-1].seconds:.0f} s", flush=True)
    made = f"Made by `{command('speed.revisions', data=False)}` on {machine_description('cpu')}."
    text = "\n".join([*table(found), "", made])
    print(text)
    put_between_marks(options.results, options.marks, text)


if __name__ == "__main__":
    main()
