"""The test examples of a run, and the site that holds each."""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fl.config.config_file import load_config
from fl.data.cohort import Cohort
from fl.data.example_cache import default_cache_dir, prepare_all
from fl.datasets.source_selection import select_sources
from fl.ecg.tasks import TASKS
from fl.runs.run_facts import RunFacts
from fl.util.errors import DataError

TEST = "test"


def tested_examples(folder: Path, facts: RunFacts) -> tuple[Cohort, NDArray[np.str_]]:
    """Every test example of a run, as it was recorded, and the site of each: (example,).

    The sources' examples are made again unless they are still in the cache. Raises ConfigError or
    DataError if the sources are not where the run found them.
    """
    task = TASKS[load_config(facts.config).task]
    cohort, _ = Cohort.open(task, shards_of_run(facts)).without_duplicates()
    site_of = _tested(folder / "partition.csv")
    keys = zip(cohort.sources.tolist(), cohort.names.tolist(), strict=True)
    sites = np.array([site_of.get(key, "") for key in keys], dtype=np.str_)
    kept = np.flatnonzero(sites != "")
    if not len(kept):
        raise DataError(f"{folder}: no test record of the run is in its sources any more.")
    return cohort.take(kept), sites[kept]


def shards_of_run(facts: RunFacts) -> list[Path]:
    """The cache folders of a run's sources, made again unless they are still there.

    Raises ConfigError or DataError if the sources are not where the run found them.
    """
    config = load_config(facts.config)
    choice = select_sources(config)
    used = {entry.source for entry in facts.data}
    sources = {name: source for name, source in choice.sources.items() if name in used}
    run_cache = Path(facts.data[0].cache).parent
    cache = run_cache if run_cache.is_dir() else default_cache_dir()
    return list(prepare_all(sources, Path(config.data_dir), TASKS[config.task], cache).values())


def _tested(path: Path) -> dict[tuple[str, str], str]:
    """The site of each test example, by source and name."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read ({reason}). The run is incomplete.") from None
    return {(r["source"], r["record"]): r["site"] for r in rows if r["split"] == TEST}
