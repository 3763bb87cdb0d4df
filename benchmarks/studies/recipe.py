"""Ideas for a better global model: one changed at a time, compared on validation over seeds.

    python -m benchmarks.studies.recipe --data-dir DATA --work RUNS --seeds 20,21,22 [FLAGS]

Each row is `run_sim.py --clients 8 --compare fedavg --site-folds 0` with one change; FLAGS are
further flags of run_sim.py, for all rows. The figures are those of `rounds.csv` for the weights
that each training chose: the sites' histograms of scores added up over all sources, in which each
patient counts once, and measured as one. The weights were chosen and the thresholds of macro-F1 set
on the same patients, so they are too high, in every row alike. Test figures are not used. Runs stay
in --work; a second call makes those that are missing and goes on with one that was interrupted.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks.common.countdown import Countdown
from benchmarks.common.made_runs import Settings, completed, folder_of, make_run
from benchmarks.common.results_store import command, machine_description, put_between_marks
from fl.config.config_file import load_config
from fl.config.run_config import LOCAL, POOLED
from fl.ecg.tasks import RHYTHM, TASKS
from fl.runs.history_tables import read_rounds
from fl.runs.results import read_summary
from fl.util.errors import ConfigError

MAIN_JOB = {"clients": "8", "compare": "fedavg", "site_folds": "0"}
BASELINE = "as it is"
KINDS = ("federated", "pooled", "local")
MEASURES = {"val_macro_auroc": "macro-AUROC", "val_macro_f1": "macro-F1"}


def ideas(base: Settings) -> dict[str, dict[str, str]]:
    """The rows: what each changes in the main job's settings."""
    task = TASKS[base.get("task", RHYTHM.name)]
    rounds = int(base.get("rounds", task.rounds))
    rate = float(base.get("lr", task.lr))
    added = {
        name: {"augment": ",".join((*task.augment, name))}
        for name in ("mixup", "stretch", "beat_stretch")
    }
    features = {"the signal alone, no features": {"rhythm_features": "none"}}
    features |= {
        f"rhythm features: {kind}": {"rhythm_features": kind}
        for kind in ("rr", "beats", "waves", "amplitude")
    }
    features |= {f"signal dropout {share}": {"signal_dropout": share} for share in ("0.3", "0.5")}
    # Pooled training would be the same as in the first row.
    momentum = {"compare": "", "strategy": "fedavgm"}
    return {
        BASELINE: {},
        "mean of the last 3 rounds": {"average_rounds": "3"},
        "mean of the last 5 rounds": {"average_rounds": "5"},
        **added,
        "half again as many rounds": {"rounds": str(round(1.5 * rounds))},
        "twice the rounds": {"rounds": str(2 * rounds)},
        "server momentum .5": {**momentum, "server_momentum": "0.5"},
        "server momentum .9": {**momentum, "server_momentum": "0.9"},
        "half the rate": {"lr": f"{rate / 2:g}"},
        "twice the rate": {"lr": f"{rate * 2:g}"},
        "pooled at half the rate": {"lr_pooled": f"{rate / 2:g}"},
        "pooled at twice the rate": {"lr_pooled": f"{rate * 2:g}"},
        "local at half the rate": {"lr_local": f"{rate / 2:g}"},
        "local at twice the rate": {"lr_local": f"{rate * 2:g}"},
        **features,
    }


@dataclass(frozen=True, kw_only=True)
class Validated:
    """Validation of the weights that a training chose, and what the training took."""

    measures: Mapping[str, float | None]  # by the names of MEASURES
    seconds: float  # of its requests, in rounds.csv


Outcome = Mapping[str, Validated]  # of one run, by the names of KINDS


def validated(folder: Path) -> Outcome:
    """What rounds.csv says of the weights that the run's trainings chose.

    Of summary.json only these are read: which round, and whether it is a mean. Local training ends
    with its last round; there each site's patients are those that its own network is validated on.
    """
    summary, rounds = read_summary(folder), read_rounds(folder)
    found = {}
    for name, training in summary.strategies.items():
        lines = [row for row in rounds if row.strategy == name]
        chosen = (training.best_round or training.rounds, training.averaged or 0)
        (best,) = (row for row in lines if (row.round, row.averaged) == chosen)
        found[name if name in (LOCAL, POOLED) else "federated"] = Validated(
            measures={measure: getattr(best, measure) for measure in MEASURES},
            seconds=sum(row.seconds for row in lines),
        )
    return found


def made(folder: Path, settings: Settings) -> Outcome:
    """The run in this folder, made or brought to its end first; `ConfigError` if it cannot be."""
    make_run(folder, settings)
    return validated(folder)


def paired(values: Sequence[float]) -> str:
    """Mean difference and its 95% t interval over seeds; one seed has no interval."""
    if not values:
        return "n/a"
    mean = float(np.mean(values))
    if len(values) == 1:
        return f"{mean:+.3f}"
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    low, high = mean - half, mean + half
    return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"


def table(kind: str, results: Mapping[str, Mapping[int, Outcome]]) -> list[str]:
    """A row for each idea: means over its seeds, and differences from the baseline's same seeds."""
    heads = [f"{name} | difference" for name in MEASURES.values()]
    lines = [
        f"| {kind} training | seeds | {' | '.join(heads)} | time |",
        f"| --- | --- | {'--- | ' * 2 * len(MEASURES)}--- |",
    ]
    baseline = results.get(BASELINE, {})
    for idea, by_seed in results.items():
        runs = {seed: outcome[kind] for seed, outcome in by_seed.items() if kind in outcome}
        pairs = [(baseline[seed][kind], run) for seed, run in runs.items() if seed in baseline]
        cells = []
        for measure in MEASURES:
            known = [v for run in runs.values() if (v := run.measures[measure]) is not None]
            differences = [
                after - before
                for one, other in pairs
                if (before := one.measures[measure]) is not None
                and (after := other.measures[measure]) is not None
            ]
            cells.append(f"{np.mean(known):.3f}" if known else "n/a")
            cells.append("" if idea == BASELINE else paired(differences))
        ratio = [run.seconds / one.seconds for one, run in pairs]
        cells.append(f"{np.mean(ratio):.2f}" if ratio else "n/a")
        lines.append(f"| {idea} | {len(runs)} | {' | '.join(cells)} |")
    return lines


NOTE = (
    "Validation patients of all sites at the round (or mean of rounds) that each training chose by "
    "the same patients: their histograms of scores added over all sources, each patient counted "
    "once. Differences are to the first row at the same seed, with a 95% t interval over the seeds "
    "(at least two), not corrected for the number of rows; time is the ratio of the seconds of a "
    "training's requests. Test records were not used."
)


def report(results: Mapping[str, Mapping[int, Outcome]], skipped: Mapping[str, str]) -> str:
    """Both tables, and what is missing in them and why."""
    kinds = [
        kind
        for kind in KINDS
        if any(kind in outcome for by_seed in results.values() for outcome in by_seed.values())
    ]
    lines = [line for kind in kinds for line in [*table(kind, results), ""]] + [NOTE]
    if skipped:
        lines += ["", "Not made:", *(f"- {run}: {why}" for run, why in skipped.items())]
    return "\n".join(lines)


def main(given: Sequence[str] | None = None) -> None:
    """Make the runs that are missing, seed by seed, and write the tables after each seed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", required=True, help="fresh ones, e.g. 20,21,22")
    parser.add_argument("--only", default="", help="names of rows, separated by semicolons")
    parser.add_argument("--results", type=Path, default=Path("docs/results.md"))
    options, rest = parser.parse_known_args(given)
    if len(rest) % 2 or not all(word.startswith("--") for word in rest[::2]):
        parser.error(f"flags of run_sim.py need a value each: {' '.join(rest)}")
    names = (word.removeprefix("--").replace("-", "_") for word in rest[::2])
    base = (
        MAIN_JOB
        | {"data_dir": str(Path(options.data_dir).resolve())}
        | dict(zip(names, rest[1::2], strict=True))
    )
    rows = ideas(base)
    chosen = [name.strip() for name in options.only.split(";") if name.strip()]
    if unknown := sorted(set(chosen) - rows.keys()):
        parser.error(f"--only names {unknown[0]!r}. Known: {'; '.join(rows)}")
    wanted = {name: rows[name] for name in rows if not chosen or name in {BASELINE, *chosen}}
    results: dict[str, dict[int, Outcome]] = {}
    skipped: dict[str, str] = {}
    seeds = [int(text) for text in options.seeds.split(",")]
    folders = [folder_of(options.work, name, seed) for seed in seeds for name in wanted]
    countdown = Countdown(sum(not completed(folder) for folder in folders))
    for seed in seeds:
        for name, changed in wanted.items():
            settings = base | changed | {"seed": str(seed)}
            folder = folder_of(options.work, name, seed)
            show = print if completed(folder) else countdown.done
            try:
                load_config(settings)
                results.setdefault(name, {})[seed] = made(folder, settings)
            except ConfigError as error:
                skipped[f"{name}, seed {seed}"] = str(error)
                show(f"{name}, seed {seed} is skipped: {error}")
            else:
                show(f"{name}, seed {seed}: {results[name][seed]}")
        text = report({name: found for name, found in results.items() if found}, skipped)
        made_by = f"Made by `{command('studies.recipe')}` on {machine_description('cpu')}."
        put_between_marks(options.results, "recipe", f"{text}\n\n{made_by}")
    print(text)


if __name__ == "__main__":
    main()
