"""What each remedy of a textbook gains and costs, on the beat task and on the rhythm task.

    python -m benchmarks.studies.remedies --data-dir DATA [--only beat] [--seed 0]

Pooled training of a small network on the patients of MIT-BIH's DS1 and of 40 records of SVDB
(`beat`), and of CPSC2018's twelve-lead records and 450 with lead I alone (`rhythm`), a few passes
each: enough to compare, not to quote. The patients of three of five folds are tested, each by a
network that was not trained on them; DS2 is not opened. Finished rows are stored in --json and
--work, and a second call continues from there.
"""

import argparse
from pathlib import Path

from benchmarks.common.results_store import (
    StoredResults,
    command,
    machine_description,
    put_between_marks,
)
from benchmarks.studies.remedies.recipes import AS_SHIPPED, FOLDS, STUDIED, Recipe
from benchmarks.studies.remedies.tables import tables
from benchmarks.studies.remedies.training import Answers, measured, train_row
from fl.data.example_cache import default_cache_dir
from fl.training.device import one_thread


def run_task(name: str, options: argparse.Namespace, file: StoredResults) -> None:
    """Train and measure every row of a task that is not stored yet."""
    studied = STUDIED[name]
    cohort = studied.cohort(options.data_dir, options.cache_dir, wavelet=False)
    cleaned = studied.cohort(options.data_dir, options.cache_dir, wavelet=True)
    if cohort.names.tolist() != cleaned.names.tolist():
        raise ValueError(f"{name}: the filters leave different examples")

    def answers_of(row: str, recipe: Recipe) -> Answers:
        path = options.work / f"{name}-{row.replace(' ', '-').replace(':', '')}.npz"
        if not path.exists():
            data = cleaned if recipe.wavelet else cohort
            train_row(studied, recipe, data, options.seed).write(path)
        return Answers.read(path)

    rows = studied.rows()
    shipped = answers_of(AS_SHIPPED, rows[AS_SHIPPED])
    for row, recipe in rows.items():
        file.get_or_make(
            f"{name}/{row}",
            lambda row=row, recipe=recipe: measured(  # type: ignore[misc]
                studied, cohort, answers_of(row, recipe), shipped, options.seed
            ),
        )


def main() -> None:
    """Train what is missing, and write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--cache-dir", type=Path, default=default_cache_dir())
    parser.add_argument("--work", type=Path, help="answers of finished rows [CACHE_DIR/remedies]")
    parser.add_argument("--only", choices=sorted(STUDIED), help="one of the tasks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=Path("docs/results-remedies.json"))
    parser.add_argument("--results", type=Path, default=Path("docs/results.md"))
    options = parser.parse_args()
    options.work = options.work or options.cache_dir / "remedies"
    one_thread()
    settings = {
        "tasks": {name: repr((s.task.preprocessing, s.rows())) for name, s in STUDIED.items()},
        "folds": FOLDS,
        "seed": options.seed,
    }
    stamp = {
        "settings": settings,
        "machine": machine_description("one used"),
        "command": command("studies.remedies"),
    }
    file = StoredResults(options.json, stamp)
    names = [name for name in STUDIED if options.only in (None, name)]
    file.expect(f"{name}/{row}" for name in names for row in STUDIED[name].rows())
    for name in names:
        run_task(name, options, file)
    file.write()
    text = "\n".join(tables(file.content))
    print(text)
    put_between_marks(options.results, "remedies", text)


if __name__ == "__main__":
    main()
