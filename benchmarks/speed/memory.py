"""Memory of a long run: all processes together after each round, the last compared with the fifth.

    python -m benchmarks.speed.memory [--rounds 50] [--model resnet1d_large] [flags of run_sim.py]

Runs run_sim.py as a user would, on a small synthetic cohort, and reads the memory of all its
processes whenever rounds.csv has grown. Shared pages are counted once (PSS). Exit code 1 if the
memory grew by more than the limit.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common.process_watch import memory_of

EARLY = 5  # the round that the last one is compared with
LIMIT = 1.2  # times the memory of that round

SMALL = ("--data", "synthetic", "--synthetic-records", "60", "--local-epochs", "1")


def rounds_done(path: Path) -> int:
    """Rounds in rounds.csv so far."""
    return len(path.read_text().splitlines()) - 1 if path.exists() else 0


def watch(command: list[str], table: Path) -> dict[int, int]:
    """Run the command; returns the bytes of all its processes after each round."""
    after: dict[int, int] = {}
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            number = rounds_done(table)
            if number and number not in after:
                after[number] = memory_of(process.pid)
            time.sleep(0.05)
    if process.returncode != 0:
        sys.exit(f"run_sim.py ended with exit code {process.returncode}")
    return after


def main() -> None:
    """Run, print the table, and exit with code 1 if the memory grew too much."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--model", default="resnet1d_large")
    parser.add_argument("--json", type=Path)
    options, flags = parser.parse_known_args()
    script = Path(__file__).resolve().parents[2] / "run_sim.py"
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, str(script), *SMALL, "--quiet", "--out", folder, "--name", "run"]
        for name in ("rounds", "clients", "model"):
            words += [f"--{name}", str(getattr(options, name))]
        after = watch([*words, *flags], Path(folder) / "run" / "rounds.csv")
    print("| after round | MiB, all processes |\n| --- | --- |")
    for number in sorted({1, 2, EARLY, *range(10, options.rounds + 1, 10), max(after)}):
        if number in after:
            print(f"| {number} | {after[number] / 2**20:.0f} |")
    # A round that ended while the memory of the one before was read has no figure.
    early = after[min(n for n in after if n >= EARLY)]
    ratio = after[max(after)] / early
    print(f"\nRound {max(after)} against round {EARLY}: {ratio:.2f} times (at most {LIMIT}).")
    if options.json:
        options.json.write_text(json.dumps({"bytes": after, "ratio": ratio}, indent=1))
    sys.exit(ratio > LIMIT)


if __name__ == "__main__":
    main()
