"""What differential privacy costs: epsilon, scope, and who adds the noise, over fresh seeds.

    python -m benchmarks.studies.privacy --data-dir DATA --work RUNS --seeds 41,42,43

A body is trained on PTB-XL and Georgia. The main job (CPSC2018 and MIT-BIH, which share no patient
with them) then trains its dense layers (`head`) or all layers (`all`) from there, without privacy
and with several epsilons: as one step a round under secure aggregation, where sites share the
noise, or with each site's own noise. Figures are of the test. Rates, rounds and the clip were
chosen on validation of seed 40, with `head` and epsilon 8. Runs stay in --work; a second call makes
those that are missing. With many sites masks take most of the time and change no figure: runs with
shared noise are then made without them (`unmasked_run.py`).
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.common.countdown import Countdown
from benchmarks.common.made_runs import RUN_SIM, completed, folder_of, make_run
from benchmarks.common.results_store import command, machine_description, put_between_marks
from benchmarks.studies.recipe import paired
from fl.runs.bounded_files import read_json
from fl.runs.results import read_summary
from fl.util.errors import ConfigError

BODY_SEED = 40
BODY = {"sources": "ptbxl,georgia", "clients": "4", "site_folds": "0", "seed": str(BODY_SEED)}
JOB = {"site_folds": "0"}
PLAIN = "none"
EPSILONS = (PLAIN, "8", "3", "1")
NOISES = {"shared": {"secure_aggregation": "true"}, "own": {}}
MOST_MASKED = 40  # sites of a run with shared noise that is made with its masks
Settings = dict[str, str]


def rows(
    sites: Sequence[str], scopes: Sequence[str], epsilons: Sequence[str]
) -> dict[str, Settings]:
    """The table's rows: name -> settings of the main job."""
    found = {}
    for count in sites:
        for scope in scopes:
            for epsilon in epsilons:
                for noise, settings in NOISES.items():
                    job = {"clients": count}
                    if epsilon == PLAIN:
                        freeze = {"freeze": "features"} if scope == "head" else {}
                        found[f"{count} sites, {scope}, {PLAIN}"] = job | freeze
                        continue
                    private = {"dp": "patient", "dp_scope": scope, "epsilon": epsilon}
                    name = f"{count} sites, {scope}, epsilon {epsilon}, {noise} noise"
                    found[name] = job | private | settings
    return found


def program(settings: Settings) -> Sequence[str]:
    """What makes a run of these settings."""
    masked = "secure_aggregation" in settings
    many = masked and int(settings["clients"]) > MOST_MASKED
    return ("-m", "benchmarks.studies.unmasked_run") if many else RUN_SIM


def measured(folder: Path) -> dict[str, float]:
    """Test figures of a run, and its noise."""
    result = next(iter(read_summary(folder).strategies.values()))
    assert result.central is not None
    privacy = read_json(folder / "run.json").get("privacy") or {}
    auroc, f1 = result.central.macro_auroc.value, result.central.macro_f1.value
    assert auroc is not None
    assert f1 is not None
    return {
        "auroc": auroc,
        "f1": f1,
        "noise": privacy.get("noise_multiplier", 0.0),
        "steps": privacy.get("steps", 0),
    }


def table(results: Mapping[str, Mapping[int, Mapping[str, float]]]) -> list[str]:
    """A line for each row: means over seeds, and differences from the same without privacy."""
    lines = [
        "| sites, layers, epsilon | seeds | steps | noise | macro-AUROC | difference | macro-F1 "
        "| difference |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, by_seed in results.items():
        plain = results.get(f"{', '.join(name.split(', ')[:2])}, {PLAIN}", {})
        cells = []
        for measure in ("auroc", "f1"):
            values = [found[measure] for found in by_seed.values()]
            differences = [
                found[measure] - plain[seed][measure]
                for seed, found in by_seed.items()
                if seed in plain
            ]
            cells.append(f"{np.mean(values):.3f}")
            cells.append("" if name.endswith(PLAIN) else paired(differences))
        one = next(iter(by_seed.values()))
        noise = f"{one['noise']:.2f}" if one["noise"] else ""
        steps = f"{one['steps']:.0f}" if one["steps"] else ""
        lines.append(f"| {name} | {len(by_seed)} | {steps} | {noise} | {' | '.join(cells)} |")
    return lines


NOTE = (
    "Central test: patients that no site holds, the mean over sources weighted by patients. "
    "Differences are to the same layers and seed without privacy, with a 95% t interval over the "
    "seeds. Noise: its standard deviation over the clip, in each step of each site (own) or of the "
    "sum over all sites (shared). delta is 1e-05. With more than 40 sites shared noise is measured "
    "without masks, which cancel in the sum to the bit."
)


def main(given: Sequence[str] | None = None) -> None:
    """Make the runs that are missing, seed by seed, and write the table after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", required=True, help="fresh ones, e.g. 41,42,43")
    parser.add_argument("--sites", default="8,100")
    parser.add_argument("--scopes", default="head,all")
    parser.add_argument("--epsilons", default=",".join(EPSILONS))
    parser.add_argument("--noises", default=",".join(NOISES))
    parser.add_argument("--results", type=Path, default=Path("docs/privacy.md"))
    parser.add_argument("--no-runs", action="store_true", help="tables of what is there")
    parser.add_argument("--marks", default="privacy-cost", help="where in it the table stands")
    options = parser.parse_args(given)
    data = {"data_dir": str(Path(options.data_dir).resolve())}
    body = folder_of(options.work, "body", BODY_SEED)
    if not options.no_runs:
        make_run(body, BODY | data)
    start = {"init_from": str(body / "weights" / "fedavg-best.safetensors")}
    wanted = rows(*(getattr(options, n).split(",") for n in ("sites", "scopes", "epsilons")))
    noises = options.noises.split(",")
    wanted = {
        name: settings
        for name, settings in wanted.items()
        if not name.endswith("noise") or name.split(", ")[-1].split()[0] in noises
    }
    seeds = [int(text) for text in options.seeds.split(",")]
    folders = [folder_of(options.work, name, seed) for seed in seeds for name in wanted]
    countdown = Countdown(sum(not completed(folder) for folder in folders))
    results: dict[str, dict[int, dict[str, float]]] = {name: {} for name in wanted}
    skipped = []
    for seed in seeds:
        for name, settings in wanted.items():
            folder = folder_of(options.work, name, seed)
            show = print if completed(folder) else countdown.done
            try:
                if options.no_runs and not completed(folder):
                    raise ConfigError("no run yet")
                make_run(
                    folder, JOB | data | start | settings | {"seed": str(seed)}, program(settings)
                )
                results[name][seed] = measured(folder)
                show(f"{name}, seed {seed}: {results[name][seed]}")
            except ConfigError as error:
                skipped.append(f"- {name}, seed {seed}: {error}")
                show(skipped[-1])
            lines = table({name: found for name, found in results.items() if found})
            made = f"Made by `{command('studies.privacy')}` on {machine_description('cpu')}."
            missing = ["", "Not made:", *skipped] if skipped else []
            text = "\n".join([*lines, "", NOTE, *missing, "", made])
            put_between_marks(options.results, options.marks, text)


if __name__ == "__main__":
    main()
