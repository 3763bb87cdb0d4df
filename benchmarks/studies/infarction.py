"""Transfer to myocardial infarction, after Kachuee et al. 2018 (arXiv:1805.00794).

    python -m benchmarks.studies.infarction --data-dir DATA

A network that has learnt beats (or rhythms) is trained further for infarctions: its dense layers
alone (`--init-from` with `--freeze features`), or all of it (`--init-from`), beside training from
scratch; each pooled and federated, with beats of lead II and with twelve leads. Every run is a run
of `run_sim.py` below --work, over folds of each site's patients, so that every patient of a site is
tested once per seed; completed runs are kept. The table is written into docs/results.md.
"""

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.results_store import (
    StoredResults,
    command,
    machine_description,
    put_between_marks,
)
from fl.ecg.labels import INFARCTION_CLASSES
from fl.evaluation.bootstrap import (
    BootstrapEstimate,
    Draws,
    bootstrap_macro,
    draw_patients,
    interval,
)
from fl.evaluation.metrics import count_patients, scores
from fl.evaluation.predictions import Predictions, read_predictions
from fl.runs.bounded_files import read_json
from fl.util.errors import ConfigError, exit_code
from partitions.partition import CENTRAL, UNSEEN

SIMULATION = Path(__file__).parents[2] / "run_sim.py"
DRAWS = 1000
MEASURES = ("accuracy", "macro_f1", "macro_auroc")
WAYS = {"from scratch": 0, "dense layers alone": 2, "all weights": 1}  # -> how much is added
TRAININGS = ("fedavg", "pooled")
PUBLISHED = (
    "Kachuee et al. 2018 report 95.9% accuracy for infarctions. Theirs is over beats in a random "
    "split of beats: beats of one patient are in training and in test. Ours is over recordings of "
    "patients whom the model has never seen, and is not comparable with it."
)


@dataclass(frozen=True, kw_only=True)
class Input:
    """One form of recordings, and the run whose network is transferred to it."""

    title: str
    task: str
    model: str
    source: str  # name of the run that learns something else first
    source_flags: tuple[str, ...]
    rounds: int
    local_epochs: int  # of beats more: an epoch takes one beat of each recording


INPUTS = (
    Input(
        title="beats of lead II, `cnn1d`, transferred from `beat-plain`",
        task="mi",
        model="cnn1d",
        source="beats",
        source_flags=("--task", "beat-plain", "--model", "cnn1d", "--clients", "8"),
        rounds=10,
        local_epochs=5,
    ),
    Input(
        title="12 leads, `reslstm_temporalse`, transferred from `rhythm` without PTB-XL",
        task="mi-12lead",
        model="reslstm_temporalse",
        source="rhythm",
        source_flags=(
            *("--task", "rhythm", "--rhythm-features", "none"),  # which the task `mi` has not
            *("--model", "reslstm_temporalse", "--clients", "8"),
            *("--sources", "cpsc2018,cpsc2018-lead1,mitdb"),
        ),
        rounds=8,
        local_epochs=2,
    ),
)


def arm_flags(chosen: Input, way: str, weights: Path, options: argparse.Namespace) -> list[str]:
    """The flags of `run_sim.py` for one way to train on one form of recordings."""
    added = ["--init-from", str(weights), "--freeze", "features"]
    return [
        *("--task", chosen.task, "--model", chosen.model, "--compare", "fedavg"),
        *("--clients", str(options.clients), "--seeds", options.seeds),
        *("--rounds", str(chosen.rounds), "--local-epochs", str(chosen.local_epochs)),
        *("--site-folds", str(options.folds), *options.flags.split()),
        *({0: [], 1: added[:2], 2: added}[WAYS[way]]),
    ]


def run(name: str, flags: Sequence[str], options: argparse.Namespace) -> Path:
    """The directory of a completed run; it is made, or continued, if it is not there.

    Raises ConfigError if the run fails.
    """
    folder = Path(options.work) / name
    record = folder / "run.json"
    if record.is_file() and read_json(record)["status"] == "completed":
        return folder
    # With pages: they come with the file beside the weights that `--init-from` needs.
    given = [*flags, "--data-dir", str(options.data_dir), "--quiet"]
    given += ["--out", str(options.work), "--name", name]
    if record.is_file():
        given = ["--resume", str(folder), "--quiet"]
    if subprocess.run([sys.executable, str(SIMULATION), *given], check=False).returncode:
        raise ConfigError(f"the run {name} failed: see above. Run the study again to continue it.")
    return folder


def measured(folder: Path, training: str, seeds: Sequence[int]) -> dict[str, Any]:
    """Measures of one training over its seeds, by recording, with intervals by patient.

    Mean over the seeds of the figure over all recordings of all sites' patients. A draw of patients
    is the same for every seed.
    """
    parts = [_at_sites(_predictions(folder, seed, seeds), training) for seed in seeds]
    joined = Predictions.joined(parts, INFARCTION_CLASSES)
    drawn = draw_patients(joined.patient, joined.labels, 0, DRAWS, group="infarction")
    ends = np.cumsum([0, *map(len, parts)])
    each = [
        _of_seed(part, Draws(drawn.weights, drawn.patient[begin:end]))
        for part, begin, end in zip(parts, ends[:-1], ends[1:], strict=True)
    ]
    counts = count_patients(joined.labels, joined.patient)
    rarer = float(min(counts.positive[0], counts.negative[0]))
    n_patients = drawn.weights.shape[1]
    found: dict[str, Any] = {
        "patients": n_patients,
        "positive_patients": int(counts.positive[0]),
        "recordings": [len(part) for part in parts],
    }
    for name in MEASURES:
        values = [value[name] for value, _ in each]
        draws = np.mean([drawn_values[name] for _, drawn_values in each], axis=0)
        estimate = BootstrapEstimate(
            None if None in values else float(np.mean(values)),
            draws,
            n_patients if name == "accuracy" else rarer,
            (n_patients if name == "accuracy" else rarer) - 1,
        )
        low, high = interval(estimate, n_patients)
        found[name] = {"value": estimate.value, "low": low, "high": high, "seeds": values}
    return found


def _predictions(folder: Path, seed: int, seeds: Sequence[int]) -> Path:
    part = folder / f"seed-{seed}" if len(seeds) > 1 else folder
    return part / "predictions.csv"


def _at_sites(path: Path, training: str) -> Predictions:
    """What a training predicted for the patients of all sites, each tested once."""
    found = read_predictions(path, INFARCTION_CLASSES)
    return found.take((found.strategy == training) & ~np.isin(found.site, (CENTRAL, UNSEEN)))


def _of_seed(
    part: Predictions, draws: Draws
) -> tuple[dict[str, float | None], dict[str, np.ndarray[Any, Any]]]:
    """The measures of one seed, and those of every draw of patients."""
    labels, p, decided = part.labels, part.probabilities, part.decided
    right = ((labels[:, 0] == 1) == decided[:, 0]).astype(float)
    n_patients = draws.weights.shape[1]
    count = draws.weights @ np.bincount(draws.patient, minlength=n_patients)
    hits = draws.weights @ np.bincount(draws.patient, right, minlength=n_patients)
    found = scores(labels, p, decided, INFARCTION_CLASSES, patients=part.patient)
    values = {
        "accuracy": float(right.mean()),
        "macro_f1": found.macro_f1,
        "macro_auroc": found.macro_auroc,
    }
    with np.errstate(invalid="ignore"):
        accuracy = {"accuracy": hits / count}
    return values, accuracy | bootstrap_macro(labels, p, decided, draws, [0])


def table(results: Mapping[str, Any]) -> list[str]:
    """The table as lines of Markdown; a training that is not measured yet has no row."""
    lines = [
        "### Transfer to myocardial infarction",
        "",
        "| recordings | training | start | accuracy | F1 of MI | AUROC |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for chosen in INPUTS:
        for training in TRAININGS:
            for way in WAYS:
                if row := results.get(f"{chosen.task}/{way}/{training}"):
                    cells = " | ".join(_cell(row[name]) for name in MEASURES)
                    lines.append(f"| {chosen.title} | {training} | {way} | {cells} |")
    return lines


def _cell(figure: Mapping[str, Any]) -> str:
    """`.812 [.755, .861]`"""
    shown = [_short(figure[end]) for end in ("value", "low", "high")]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


def _short(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}".removeprefix("0")


def explanation(results: Mapping[str, Any], seeds: int, folds: int) -> list[str]:
    """What the table counts, and what it cannot be compared with."""
    sizes = sorted({(r["patients"], r["positive_patients"]) for r in results.values()})
    people = " and ".join(f"{n} patients, {k} of them with an infarction" for n, k in sizes)
    return [
        "",
        f"By recording, mean over {seeds} seeds; each patient of a site is tested once per seed, "
        f"in one of {folds} folds, by a model that has never seen the patient ({people}). The "
        "AUROC joins the scores of all folds' models. Intervals are 95%, by bootstrap over "
        "patients. "
        "`dense layers alone` trains new dense layers (two of 32 in `cnn1d`) and the output on "
        "features that stay as they were learnt; `all weights` begins with them and trains "
        "everything. Passes over the recordings: "
        f"{' and '.join(f'{c.rounds * c.local_epochs} ({c.task})' for c in INPUTS)}.",
        "",
        PUBLISHED,
        "",
    ]


def main() -> None:
    """Make the runs that are missing, and write the table."""
    sys.exit(exit_code("studies.infarction", _study, "interrupted: the same command continues"))


def _study() -> int:
    options = _parser().parse_args()
    seeds = [int(text) for text in options.seeds.split(",")]
    settings = {name: getattr(options, name) for name in ("clients", "folds", "seeds", "flags")}
    stamp = {
        "settings": settings,
        "command": command("studies.infarction"),
        "machine": machine_description("cpu"),
    }
    file = StoredResults(options.json, stamp)
    inputs = [chosen for chosen in INPUTS if options.only in ("", chosen.task)]
    file.expect(f"{c.task}/{way}/{one}" for c in inputs for way in WAYS for one in TRAININGS)
    for chosen in inputs:
        source = run(chosen.source, [*chosen.source_flags, *options.source_flags.split()], options)
        weights = source / "weights" / "fedavg-best.safetensors"
        for number, way in enumerate(WAYS):
            folder = run(
                f"{chosen.task}-{number}", arm_flags(chosen, way, weights, options), options
            )
            for training in TRAININGS:
                file.get_or_make(
                    f"{chosen.task}/{way}/{training}",
                    lambda folder=folder, training=training: measured(folder, training, seeds),
                )
    results = file.content["results"]
    text = [
        *table(results),
        *explanation(results, len(seeds), options.folds),
        f"Made by `{file.content['command']}` on {file.content['machine']}.",
    ]
    print("\n".join(text))
    put_between_marks(options.results, "mi", "\n".join(text))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/infarction"))
    parser.add_argument("--results", type=Path, default=Path("docs/results.md"))
    parser.add_argument("--json", type=Path, default=Path("docs/results-infarction.json"))
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--only", choices=[chosen.task for chosen in INPUTS], default="")
    parser.add_argument("--flags", default="", help="more flags of the infarction runs")
    parser.add_argument("--source-flags", default="", help="more flags of the runs before them")
    return parser


if __name__ == "__main__":
    main()
