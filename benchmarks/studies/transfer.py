"""Does it travel? Every source left out in turn, and tested as a hospital that nobody trained on.

    python -m benchmarks.studies.transfer --data-dir DATA --work FOLDER [--seeds 30,31]

For each source `run_sim.py` deals the others to eight sites and compares local, pooled and
federated training; the models are tested on all patients of the source that was left out. Two parts
of one data set (CPSC2018 with twelve leads, and with lead I alone) are left out together. An own
folder joins with --own mysite=PATH. Completed runs below --work are kept. The tables are written
between marks into --results, with one sentence for each class: where the model may be believed.

The limits of these sentences were written before the first run:

- *ranks*: the 95% interval of AUROC, by patient, begins at `RANKS` or above with every seed;
- *decides*: it ranks, the mean F1 is `DECIDES` or more, and no seed predicts the class for more
  than twice its prevalence plus .05 (by patient);
- fewer than ten patients with the class, or without it: nothing is claimed.
"""

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.results_store import (
    StoredResults,
    command,
    machine_description,
    put_between_marks,
)
from benchmarks.studies.comparison_tables import on_unseen
from fl.config.run_config import LOCAL, POOLED
from fl.datasets import DATASETS
from fl.datasets.source_selection import DEFAULT_SOURCES
from fl.evaluation.group_evaluation import GroupMeasures, evaluate_predictions
from fl.evaluation.predictions import read_predictions
from fl.reports.number_format import number
from fl.runs.bounded_files import read_json
from fl.runs.results import RunSummary, read_summary
from partitions.partition import UNSEEN

SIMULATION = Path(__file__).parents[2] / "run_sim.py"
RANKS, DECIDES = 0.80, 0.60
FEWEST = 10  # patients on either side, for a claim about a class
FEDERATED = "fedavg"
TRAININGS = (LOCAL, POOLED, FEDERATED)
# Sources beside a task's usual ones, and the parts of one data set, which travel together.
FURTHER = {"rhythm": ("georgia", "cpsc-extra", "ptbxl"), "beat": ()}
TOGETHER = ({"cpsc2018", "cpsc2018-lead1"},)


@dataclass(frozen=True, kw_only=True)
class ClassThere:
    """How one class does at the source that was left out, with each seed."""

    patients: int  # that show it
    without: int  # that do not
    auroc: list[float | None]
    low: list[float | None]  # low end of the 95% interval of AUROC
    f1: list[float | None]
    within: bool  # with no seed predicted far more often than it is there
    slope: list[float | None]  # of the calibration
    intercept: list[float | None]


def sources_of(task: str, root: Path, own: str) -> list[str]:
    """The sources of a task that the folder has, with a folder of one's own as `name=PATH`."""
    names = (*DEFAULT_SOURCES[task], *FURTHER[task])
    found = [name for name in names if DATASETS[name].exists(root)]
    return found + ([own] if own else [])


def left_out_with(source: str) -> set[str]:
    """The source and the other parts of its data set."""
    return next((group for group in TOGETHER if source in group), {source})


def finished_run(task: str, source: str, sources: Sequence[str], seed: int, options: Any) -> Path:
    """The run directory in which nobody trained on the source; the run is made if need be."""
    name = source.partition("=")[0]
    folder = Path(options.work) / f"{task}-without-{name}-{seed}"
    record = folder / "run.json"
    status = str(read_json(record).get("status", "")) if record.exists() else ""
    if status == "completed":
        return folder
    rest = [other for other in sources if other not in left_out_with(source)]
    flags = ["--resume", str(folder)]
    if not status:
        flags = [
            *("--task", task, "--sources", ",".join(rest), "--holdout", source),
            *("--clients", str(options.clients), "--compare", FEDERATED, "--site-folds", "0"),
            *("--seed", str(seed), "--data-dir", options.data_dir),
            *("--out", str(options.work), "--name", folder.name),
            *(("--rounds", str(options.rounds)) if options.rounds else ()),
        ]
    done = subprocess.run(
        [sys.executable, SIMULATION, *flags, "--quiet", "--no-pages"],
        stdout=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{folder.name}: run_sim.py ended with {done.returncode}; its message is above.")
    return folder


def class_there(
    runs: Mapping[Path, RunSummary], groups: Sequence[GroupMeasures], training: str, name: str
) -> ClassThere:
    """One class at the source that was left out, over the runs of all seeds."""
    lows = []
    for folder, summary in runs.items():
        predictions = read_predictions(folder / "predictions.csv", summary.classes)
        alone = evaluate_predictions(predictions.of(training, UNSEEN), 0, averaged=[name])
        lows.append(alone.macro_auroc.low)
    shares = [
        share for folder, one in runs.items() for share in on_unseen(folder, one, training)[name]
    ]
    measured = [group.classes[name] for group in groups]
    return ClassThere(
        patients=measured[0].positive_patients,
        without=measured[0].patients - measured[0].positive_patients,
        auroc=[one.auroc for one in measured],
        low=lows,
        f1=[one.f1 for one in measured],
        within=all(share.within for share in shares),
        slope=[one.calibration_slope for one in measured],
        intercept=[one.calibration_intercept for one in measured],
    )


def believed(there: ClassThere) -> str:
    """What may be believed of a class at a source: see the limits above."""
    fewest = min(there.patients, there.without)
    if fewest < FEWEST:
        return (
            f"not claimed ({fewest} patients {'show' if fewest == there.patients else 'lack'} it)"
        )
    if None in there.low:
        return "not claimed (no interval)"
    if min(low for low in there.low if low is not None) < RANKS:
        return "no"
    return "ranks and decides" if mean(there.f1) >= DECIDES and there.within else "ranks only"


def mean(values: Sequence[float | None]) -> float:
    """The mean of what is known; nan where nothing is."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else float("nan")


def cell(values: Sequence[float | None]) -> str:
    """The mean over the seeds, or n/a."""
    found = mean(values)
    return "n/a" if np.isnan(found) else number(found)


def measure(runs: Mapping[Path, RunSummary]) -> dict[str, Any]:
    """The figures of one source that was left out: each training, and each class of it."""
    found: dict[str, Any] = {}
    for training in TRAININGS:
        unseen = [summary.strategies[training].unseen for summary in runs.values()]
        groups = [group for group in unseen if group is not None]
        found[training] = {
            "patients": groups[0].n_patients,
            "records": groups[0].n_records,
            "macro_auroc": [group.macro_auroc.value for group in groups],
            "macro_f1": [group.macro_f1.value for group in groups],
            "macro_ece": [group.macro_ece for group in groups],
        }
        if training != LOCAL:  # which is eight models, each with answers of its own
            names = [n for n, one in groups[0].classes.items() if one.positive and one.auroc]
            found[training]["classes"] = {
                name: asdict(class_there(runs, groups, training, name)) for name in names
            }
    return found


def tables(task: str, results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Both tables of a task: each training at each source, and each class of the federation."""
    lines = [
        "| left out | patients | training | macro-AUROC | macro-F1 | ECE |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for source, found in results.items():
        for training in TRAININGS:
            one = found[training]
            figures = [cell(one[key]) for key in ("macro_auroc", "macro_f1", "macro_ece")]
            lines.append(f"| {source} | {one['patients']} | {training} | {' | '.join(figures)} |")
    lines += [
        "",
        f"Each class, {FEDERATED}; AUROC with the lowest low end of its intervals by patient.",
        "",
        "| left out | class | patients with it | AUROC (low end) | F1 | calibration slope | "
        "intercept | may it be believed? | pooled |",
        f"|{' --- |' * 9}",
    ]
    for source, found in results.items():
        for name, values in found[FEDERATED]["classes"].items():
            there, pooled = ClassThere(**values), found[POOLED]["classes"].get(name)
            low = [value for value in there.low if value is not None]
            lines.append(
                f"| {source} | {name} | {there.patients} | {cell(there.auroc)} "
                f"({number(min(low)) if low else 'n/a'}) | {cell(there.f1)} | {cell(there.slope)} "
                f"| {cell(there.intercept)} | {believed(there)} | "
                f"{believed(ClassThere(**pooled)) if pooled else 'n/a'} |"
            )
    return lines


def study(task: str, options: argparse.Namespace) -> None:
    """Every source of a task left out in turn; the tables are written after each."""
    seeds = [int(text) for text in options.seeds.split(",")]
    machine = machine_description("cpu")
    settings = {"task": task, "seeds": seeds, "clients": options.clients, "rounds": options.rounds}
    stamp = {"settings": settings, "machine": machine}
    stored = StoredResults(options.json.with_name(f"{options.json.stem}-{task}.json"), stamp)
    sources = sources_of(task, Path(options.data_dir), options.own)
    stored.expect(source.partition("=")[0] for source in sources)
    results = {}
    for source in sources:
        folders = [finished_run(task, source, sources, seed, options) for seed in seeds]
        runs = {folder: read_summary(folder) for folder in folders}
        name = source.partition("=")[0]
        results[name] = stored.get_or_make(name, lambda runs=runs: measure(runs))
        lines = [
            f"`{command('studies.transfer')}`, {machine}; seeds {options.seeds}, mean over seeds.",
            "",
            *tables(task, results),
        ]
        put_between_marks(options.results, f"transfer-{task}", "\n".join(lines))


def main() -> None:
    """Make the runs that are missing, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--work", type=Path, required=True, help="where the run directories are")
    parser.add_argument("--tasks", default="rhythm,beat")
    parser.add_argument("--seeds", default="30,31")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=0, help="0: the task's own")
    parser.add_argument("--own", default="", help="a folder of one's own: name=PATH")
    parser.add_argument("--json", type=Path, default=Path("docs/results-transfer.json"))
    parser.add_argument("--results", type=Path, default=Path("docs/results.md"))
    options = parser.parse_args()
    options.data_dir = str(Path(options.data_dir).resolve())
    for task in options.tasks.split(","):
        study(task, options)


if __name__ == "__main__":
    main()
