"""Seconds to generate a synthetic cohort of CPSC2018's size, and its size on disk.

    python -m benchmarks.speed.synthetic_cohort [--synthetic-records 6877] [--workers 2]

Generates and preprocesses the records of `run_sim.py --data synthetic`: a 12-lead cohort, and a
Holter cohort of half as many records.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

from fl.config.run_config import RunConfig
from fl.data.example_cache import prepare_all
from fl.datasets.source_selection import select_sources
from fl.ecg.tasks import RHYTHM_SIGNAL


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--synthetic-records", type=int, default=6877)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    config = RunConfig(data="synthetic", synthetic_records=options.synthetic_records)
    sources = select_sources(config).sources
    with tempfile.TemporaryDirectory() as folder:
        for label in ("cold", "warm"):
            began = time.perf_counter()
            paths = prepare_all(sources, Path(), RHYTHM_SIGNAL, Path(folder), options.workers)
            print(f"{label}: {time.perf_counter() - began:.1f} s", flush=True)
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        print(f"processor time: {sum(u.ru_utime + u.ru_stime for u in used):.0f} s")
        for name, path in paths.items():
            size = sum(file.stat().st_size for file in path.iterdir())
            print(f"{name}: {size / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
