"""Whole runs with thousands of small sites, compared with eight sites that hold the same records.

    python -m benchmarks.speed.thousands [--sites 8,1000,10000] [--records 100000] [--rounds 3]

Each is `run_sim.py` with its partition, run directory, console and pages, in a process of its own,
on made records of the task `beat`: noise with a wave for each class, which no preprocessing needs.
With 10,000 sites each has eight records or nine, of which three or four train. Small sites
validate and test a larger share of their records, and a site's last batch of an epoch holds what is
left: the table says how many gradient steps all sites took. The memory of all processes together is
read every second; shared pages are counted once.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import run_sim
from benchmarks.common.process_watch import ProcessWatch
from benchmarks.common.results_store import command, machine_description, put_between_marks
from benchmarks.speed.peer_adapters.workload import write_records
from fl.ecg.tasks import BEAT
from fl.runs.history_tables import read_rounds
from fl.runs.run_record import RunRecord
from fl.util.child_process import handle_stop_signals
from server.experiment import prepare

SOURCE = "synthetic"
FLAGS = (
    *("--data", "synthetic", "--sources", SOURCE, "--task", "beat", "--model", "beat_cnn"),
    *("--partition", "iid", "--batch-size", "4", "--imbalance", "none", "--local-epochs", "1"),
    *("--site-folds", "0", "--name", "run"),
)
MIB = 2**20


def run_on(records: Path, folder: Path, sites: int, rounds: int) -> int:
    """The run, in this process: `run_sim.py` finds the records already prepared."""
    prepare.prepare_all = lambda *_, **__: {SOURCE: records}  # type: ignore[assignment]
    counts = ["--clients", str(sites), "--rounds", str(rounds)]
    return run_sim.main([*FLAGS, *counts, "--out", str(folder)])


def measured(records: Path, sites: int, rounds: int) -> dict[str, Any]:
    """Time, memory and what was written, of one run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = [sys.executable, "-m", "benchmarks.speed.thousands", "--one", str(records), name]
        words += ["--sites", str(sites), "--rounds", str(rounds)]
        began = time.monotonic()
        with (folder / "output.txt").open("w+") as output:
            process = subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT)
            with ProcessWatch(process.pid, 1.0, True) as watch:
                try:
                    code = process.wait()
                finally:
                    seconds = time.monotonic() - began
                    watch.end_all()
            output.seek(0)
            lines = output.read().splitlines()
        if code:
            sys.exit("\n".join(lines[-20:]))
        run = folder / "run"
        table, files = read_rounds(run), [path for path in run.rglob("*") if path.is_file()]
        return {
            "seconds": seconds,
            "round": float(np.median([row.seconds for row in table])),
            "steps": RunRecord.read(run).content["trainings"]["fedavg"]["gradient_steps"],
            "failures": sum(row.failures for row in table),
            "bytes": watch.peak,
            "lines": len(lines),
            "files": len(files),
            "written": sum(path.stat().st_size for path in files),
            "pages": len(list((run / "report").rglob("*.html"))),
        }


def table_of(found: Mapping[int, Mapping[str, Any]]) -> list[str]:
    """One line per run, compared with the first."""
    first = next(iter(found.values()))
    lines = [
        "| sites | gradient steps | round, s | start to finish, s | relative to first "
        "| peak memory, MiB | relative to first | failed or clipped | lines shown | pages "
        "| files; MiB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    return lines + [
        f"| {sites:,} | {case['steps']:,} | {case['round']:.1f} | {case['seconds']:.0f} "
        f"| {case['seconds'] / first['seconds']:.2f} | {case['bytes'] / MIB:.0f} "
        f"| {case['bytes'] / first['bytes']:.2f} | {case['failures']} | {case['lines']} "
        f"| {case['pages']} | {case['files']:,}; {case['written'] / MIB:.0f} |"
        for sites, case in found.items()
    ]


def main(given: Sequence[str] | None = None) -> None:
    """Make the runs one after the other, and write the table after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    parser.add_argument("--sites", default="8,1000,10000")
    parser.add_argument("--records", type=int, default=100_000, help="of all sites together")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=Path("docs/performance.md"))
    parser.add_argument("--marks", default="thousands", help="where in it the table stands")
    parser.add_argument("--one", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    sizes = [int(word) for word in options.sites.split(",")]
    if options.one:
        sys.exit(run_on(*options.one, sizes[0], options.rounds))
    handle_stop_signals()  # so that the processes started here end with this one
    found = {}
    with tempfile.TemporaryDirectory() as name:
        write_records(Path(name), BEAT, options.records, 0)
        for sites in sizes:
            found[sites] = measured(Path(name), sites, options.rounds)
            made = f"Made by `{command('speed.thousands', data=False)}` on "
            made += f"{machine_description('cpu')}, made records, seed 0."
            text = "\n".join([*table_of(found), "", made])
            print(text)
            put_between_marks(options.results, options.marks, text)


if __name__ == "__main__":
    main()
