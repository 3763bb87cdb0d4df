"""Ray nodes on this machine that stand for the machines of a cluster."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from server.engines.ray_workers import KEEP_FREED_MEMORY

ROOT = Path(__file__).parents[2]


class Machine:
    """A Ray node with a cache of its own; its processes are a group of their own."""

    def __init__(self, folder, name, *flags, cores):
        # 127.0.0.1 itself Ray would replace by the machine's address.
        self.cache, self.log = folder / f"{name}-cache", folder / f"{name}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    *("timeout", "900"),  # it ends even if the tests are killed
                    *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block"),
                    "--disable-usage-stats",
                    *("--temp-dir", str(folder / name), "--object-store-memory", "100000000"),
                    *("--num-cpus", str(cores), *flags),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={k: v for k, v in os.environ.items() if k not in KEEP_FREED_MEMORY}
                | {"HEARTFED_CACHE": str(self.cache), "PYTHONPATH": str(ROOT)}
                # Else its workers give way to every other program of this machine.
                | {"RAY_worker_niceness": "0"},
                start_new_session=True,
            )
        end = time.monotonic() + 60
        while "Ray runtime started" not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.1)

    def end(self):
        """End the node and everything it started."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
