"""Run directories for tests of the pages: real ones, and ones changed by hand to an edge case."""

import csv
import json
import shutil
from pathlib import Path

import run_sim

QUICK = [
    *("--data", "synthetic", "--synthetic-records", "60", "--clients", "3", "--rounds", "2"),
    *("--model", "resnet1d", "--engine", "local", "--partition", "patients", "--workers", "1"),
    *("--local-epochs", "1", "--quiet", "--no-pages"),
]
KINDS = {
    "rhythm": ["--synthetic-records", "150"],  # enough patients for a macro average
    "beat": ["--task", "beat", "--per-recording", "5", "--rounds", "1", "--site-folds", "0"],
    "holdout": [
        *("--holdout", "synthetic-2lead", "--rounds", "1"),
        *("--synthetic-records", "150"),
    ],
}
METRICS = ("macro_f1", "macro_auroc")


def make(out: Path, name: str) -> Path:
    """A run directory as run_sim.py writes it, without pages."""
    assert run_sim.main([*QUICK, *KINDS[name], "--out", str(out), "--name", name]) == 0
    shutil.rmtree(out / name / "checkpoint")
    return out / name


def facts(path: Path) -> dict:
    return json.loads(path.read_text())


def change(path: Path, edit) -> None:
    """Edit a JSON file in place."""
    content = facts(path)
    edit(content)
    path.write_text(json.dumps(content))


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write_table(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def compare(folder: Path) -> None:
    """Make a run look as --compare leaves it: local, pooled and fedprox beside fedavg."""
    summary = facts(folder / "summary.json")
    own = summary["strategies"]["fedavg"]
    own["site_mean"] = {"macro_f1": 0.4123, "macro_auroc": 0.6123}  # its sites are too small
    names = ("local", "pooled", "fedavg", "fedprox")
    strategies = {name: json.loads(json.dumps(own)) for name in names}
    strategies["local"]["central"] = mean_only(own["central"])
    strategies["local"] |= {"thresholds": None, "best_round": None}
    strategies["local"]["thresholds_by_site"] = dict.fromkeys(own["sites"], own["thresholds"])
    strategies["local"]["calibration_by_site"] = dict.fromkeys(own["sites"], own["calibration"])
    strategies["local"]["central_by_site"] = dict.fromkeys(own["sites"], own["central"])
    summary["strategies"] = strategies
    summary["comparison"] = {
        "budget": {"rounds": 2, "local_epochs": 1, "steps": dict.fromkeys(names, 24)},
        "differences": list(differences(own)),
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    for file in ("predictions.csv", "rounds.csv", "sites.csv"):
        rows = table(folder / file)
        every = [row | {"strategy": name} for name in names for row in rows]
        write_table(folder / file, every)
    weights = folder / "weights"
    best = weights / "fedavg-best.safetensors"
    for name in ("pooled", "fedprox", *(f"local-{site}" for site in own["sites"])):
        shutil.copy(best, weights / f"{name}-best.safetensors")


def mean_only(report: dict) -> dict:
    """Means over several models: values without intervals."""
    without = {"low": None, "high": None}
    return report | {m: {"value": report[m]["value"]} | without for m in METRICS}


# What the intervals say at each site, so that every kind of recommendation is written.
GAPS = {
    "site-1": {"value": 0.0811, "low": 0.0312, "high": 0.1313},
    "site-2": {"value": -0.0714, "low": -0.1215, "high": -0.0216},
    "site-3": {"value": 0.0117, "low": -0.0518, "high": 0.0719},
}
NOWHERE = {"value": None, "low": None, "high": None}


def differences(own: dict):
    """Differences as the contract has them, with values that no other file holds."""
    for strategy in ("fedavg", "fedprox"):
        for against in ("local", "pooled"):
            for metric in METRICS:
                for where in ("central", "unseen", "mean_site", *own["sites"]):
                    site = where if where in own["sites"] else ""
                    gap = GAPS[site] if site else GAPS["site-1"]
                    if where == "unseen" and not own["unseen"]:
                        gap = NOWHERE
                    yield {
                        "strategy": strategy,
                        "against": against,
                        "where": f"site:{site}" if site else where,
                        "metric": metric,
                        **gap,
                        "n_patients": own["sites"][site]["n_patients"] if site else 17,
                        "sentence": f"{strategy} against {against}, {where}.",
                    }


def repeat(folder: Path, run: Path) -> None:
    """A parent of two seeds as --seeds leaves it."""
    for seed in (0, 1):
        shutil.copytree(run, folder / f"seed-{seed}")
        shutil.rmtree(folder / f"seed-{seed}" / "report", ignore_errors=True)
    entry = {"mean": 0.4123, "low_seed": 0.4012, "high_seed": 0.4234, "sd": 0.0157}
    entry |= {"values": [0.4012, 0.4234]}
    places = ("central", "mean_site", "worst_site", "unseen", "site:site-1")
    strategies = facts(run / "summary.json")["strategies"]
    gap = {"mean": 0.0321, "sd": 0.01, "low_seed": 0.0211, "high_seed": 0.0431}
    content = {
        "seeds": [0, 1],
        "task": "rhythm",
        "synthetic": True,
        "strategies": {
            name: {where: dict.fromkeys(METRICS, entry) for where in places} for name in strategies
        },
        "differences": [
            {"strategy": "fedavg", "against": "local", "where": "mean_site"}
            | {"metric": "macro_f1", "values": [0.0211, 0.0431], "sentence": "Both seeds agree."}
            | gap
        ],
    }
    (folder / "seeds.json").write_text(json.dumps(content))
