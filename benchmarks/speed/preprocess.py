"""The cost of preprocessing beyond reading the recordings and filtering them once.

    python -m benchmarks.speed.preprocess --data-dir DATA [--workers 2] [--repeats 5]

Two kinds of work take turns, with the same number of worker processes on the same records: the
bare work (wfdb's rdrecord, rdann where beats are annotated, one band-pass by scipy over every
lead), and everything that a run does before its first round, into an empty cache. Because they
take turns, other work of the machine slows both. The ratio is the median over the turns, of
seconds and of processor time, which other work disturbs less. Then the run's work is repeated with
the full cache, which is a warm start.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

# Worker processes import this file too, so modules that the bare work does not need are imported
# inside functions.
DEFAULT = "cpsc2018,cpsc2018-lead1,mitdb"


def bare(stem: str) -> int:
    """Read one record and band-pass it once; returns its number of samples."""
    from scipy.signal import butter, sosfiltfilt

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import wfdb

        record = wfdb.rdrecord(stem)
        if Path(f"{stem}.atr").is_file():
            wfdb.rdann(stem, "atr")
    band = butter(3, [0.5, 40.0], btype="bandpass", fs=record.fs, output="sos")
    return int(sosfiltfilt(band, record.p_signal, axis=0).shape[0])


def time_bare(stems: list[str], workers: int) -> float:
    """Seconds for all records, including the start of the processes."""
    began = time.perf_counter()
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        sum(pool.map(bare, stems, chunksize=8))
    return time.perf_counter() - began


def time_data(root: Path, names: list[str], task: str, cache: Path, workers: int) -> float:
    """Seconds from the names of the sources to a cohort that can be trained on."""
    from fl.data.cohort import Cohort
    from fl.data.example_cache import prepare_all
    from fl.datasets import DATASETS
    from fl.ecg.tasks import TASKS

    began = time.perf_counter()
    sources = {name: DATASETS[name] for name in names}
    shards = prepare_all(sources, root, TASKS[task], cache, workers)
    Cohort.open(TASKS[task], list(shards.values())).without_duplicates()
    return time.perf_counter() - began


def processor_seconds() -> float:
    """Processor seconds so far, of this process and of its child processes that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def stems_of(root: Path, names: list[str]) -> list[str]:
    """Every record that the bare work can read."""
    return sorted(
        str(header.with_suffix(""))
        for name in names
        for header in (root / name).rglob("*.hea")
        if header.with_suffix(".mat").is_file() or header.with_suffix(".dat").is_file()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-dir", type=Path, default=Path(os.environ.get("ECG_DATA") or "data"))
    parser.add_argument("--sources", default=DEFAULT)
    parser.add_argument("--task", default="rhythm", choices=("rhythm", "rhythm-signal", "beat"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    names = options.sources.split(",")
    stems = stems_of(options.data_dir, names)
    if not stems:
        parser.error(f"{options.data_dir}: no records of {options.sources}")
    data = partial(time_data, options.data_dir, names, options.task)
    print(f"{len(stems)} records of {options.sources}, {options.task}, {options.workers} workers")
    print("turn  bare s  preprocessing s  ratio  (processor)  warm s")
    rows = []
    for turn in range(options.repeats + 1):
        with tempfile.TemporaryDirectory() as folder:
            cache = Path(folder)
            used = [processor_seconds()]
            row = {"bare": time_bare(stems, options.workers)}
            used.append(processor_seconds())
            row["preprocessing"] = data(cache, options.workers)
            used.append(processor_seconds())
            row["warm"] = data(cache, options.workers)
        row["ratio"] = row["preprocessing"] / row["bare"]
        row["processor_ratio"] = (used[2] - used[1]) / (used[1] - used[0])
        # The first turn is not counted: it loads files and libraries into memory.
        label = f"{turn:>4}" if turn else "  --"
        print(
            f"{label}{row['bare']:>8.2f}{row['preprocessing']:>17.2f}{row['ratio']:>7.2f}"
            f"{row['processor_ratio']:>12.2f}{row['warm']:>8.2f}",
            flush=True,
        )
        rows += [row] if turn else []
    median = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
    print(
        f"median ratio {median['ratio']:.2f} ({median['processor_ratio']:.2f} in processor time), "
        f"warm start {median['warm']:.2f} s in data"
    )
    if options.json:
        facts = {"median": median, "turns": rows, "workers": options.workers, "sources": names}
        facts |= {"task": options.task, "records": len(stems), "machine": platform.platform()}
        options.json.write_text(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
