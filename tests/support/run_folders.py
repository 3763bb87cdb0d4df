"""What run directories hold, read and recomputed by tests; and runs that are killed."""

import csv
import os
import signal
import time


def without_seconds(path):
    with path.open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def results(folder):
    """Everything that must not depend on whether the run was killed."""
    files = ("sites.csv", "summary.json", "predictions.csv", "partition.csv")
    # All but the model cards, which tell when the run was made and by which command.
    weights = sorted(path for path in (folder / "weights").iterdir() if path.suffix != ".md")
    return {
        "rounds.csv": without_seconds(folder / "rounds.csv"),
        **{name: (folder / name).read_bytes() for name in files},
        **{path.name: path.read_bytes() for path in weights},
    }


def wait_for(process, folder, rounds):
    """Until the n-th round is written, or the run has ended."""
    end = time.monotonic() + 120
    table = folder / "rounds.csv"
    while time.monotonic() < end and process.poll() is None:
        if rounds == 0 or (table.exists() and len(without_seconds(table)) >= rounds):
            break
        time.sleep(0.02)


def kill_after(process, folder, rounds, seconds):
    """Kill the driver, and whatever it started, a little after its n-th round."""
    wait_for(process, folder, rounds)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
