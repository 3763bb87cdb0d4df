"""SHA-256 of the final weights of short runs, to compare two versions of the code.

`python -m benchmarks.studies.weight_hashes` prints one line per weights file. Two versions of the
code that print the same lines train the same weights to the bit: data, partition, batches, updates
and averages are the same. The recordings are synthetic, so every machine can make them. One of the
runs is killed in the middle and resumed.
"""

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parents[2]
COMMON = "--data synthetic --clients 3 --rounds 3 --local-epochs 1 --synthetic-records 120 --seed 5"
RUNS = {
    "fedavg": "--model cnn1d",
    "fedprox": "--model cnn1d --strategy fedprox --mu 0.1",
    "fedbn": "--model cnn1d --strategy fedbn",
    "scaffold": "--model cnn1d --strategy scaffold",
    "reslstm": "--model reslstm_temporalse --rounds 2",
    "beat": "--task beat --synthetic-records 60",
    "compare": "--model resnet1d --compare fedavg,fedadam --rounds 2",
    "resumed": "--model cnn1d",
}


def main() -> None:
    """Print `run file sha256` for every weights file of every run."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--root", type=Path, default=ROOT, help="checkout to run [this one]")
    options.add_argument("--only", default=",".join(RUNS), help="names of runs [all]")
    given = options.parse_args()
    for name in given.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            run(given.root, name, Path(folder))
            for file in sorted(Path(folder).glob("run/weights/*.safetensors")):
                print(f"{name:10} {file.name:32} {digest(file)}", flush=True)


def run(root: Path, name: str, out: Path) -> None:
    """One run; `resumed` is killed when its first round is on disk, and then resumed."""
    command = [sys.executable, "run_sim.py", "--quiet", "--no-pages", "--workers", "2"]
    command += ["--out", str(out), "--name", "run", *COMMON.split(), *RUNS[name].split()]
    environment = os.environ | {"PYTHONPATH": str(root)}
    quiet = {"cwd": root, "env": environment, "stdout": subprocess.DEVNULL}
    if name != "resumed":
        subprocess.run(command, check=True, **quiet)
        return
    process = subprocess.Popen(command, start_new_session=True, **quiet)
    checkpoints = out / "run" / "checkpoint" / "fedavg"
    while process.poll() is None and not list(checkpoints.glob("[0-9]*")):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    resume = [sys.executable, "run_sim.py", "--quiet", "--no-pages", "--resume", str(out / "run")]
    subprocess.run(resume, check=True, **quiet)


def digest(path: Path) -> str:
    """SHA-256 over names, types, shapes and values of a file's arrays."""
    total = hashlib.sha256()
    for name, values in sorted(load_file(path).items()):
        total.update(f"{name} {values.dtype} {values.shape}".encode())
        total.update(values.tobytes())
    return total.hexdigest()


if __name__ == "__main__":
    main()
