"""The model card beside the weights, and the small file that prediction reads with them."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fl.ecg.tasks import TASKS
from fl.reports.pages.provenance import provenance
from fl.reports.run_files import NOT_FEDERATED, Row, Run
from fl.reports.templates import render
from fl.util.atomic_io import write_atomically

FORMAT = 1
SUFFIX = "-best.safetensors"


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """One file of weights, and the results that belong to it."""

    name: str  # `fedavg`, `pooled`, `local-site-3`
    path: Path
    strategy: str
    site: str  # whose own model it is; "" for a model of all
    result: dict[str, Any]

    @property
    def thresholds(self) -> dict[str, dict[str, float]] | None:
        """Thresholds by source; None where the task decides by the most probable class."""
        own = self.result.get("thresholds_by_site") or {}
        found = own.get(self.site) if self.site else self.result.get("thresholds")
        return dict(found) if found else None


def model_files(run: Run) -> Iterator[ModelFile]:
    """Every best set of weights in the run directory."""
    for path in sorted((run.folder / "weights").glob(f"*{SUFFIX}")):
        name = path.name.removesuffix(SUFFIX)
        strategy, site = (name, "") if name in run.strategies else ("local", name[len("local-") :])
        if strategy in run.strategies and (not site or name.startswith("local-")):
            result = run.strategies[strategy]
            yield ModelFile(name=name, path=path, strategy=strategy, site=site, result=result)


def write_cards(run: Run) -> None:
    """`weights/<name>.md` and `weights/<name>.json` for every model that can be used alone."""
    for model in model_files(run):
        if not TASKS[run.task].exclusive and model.thresholds is None:
            continue  # without thresholds its probabilities decide nothing
        facts = sidecar(run, model)
        write_atomically(model.path.with_name(f"{model.name}.json"), _json(facts))
        text = render("card.md", run=run, model=model, facts=facts, **_content(run, model))
        write_atomically(model.path.with_name(f"{model.name}.md"), text.encode())


def sidecar(run: Run, model: ModelFile) -> dict[str, Any]:
    """What prediction needs beside the weights, in the order a reader wants it."""
    task = TASKS[run.task]
    return {
        "format": FORMAT,
        "weights": model.path.name,
        "sha256": hashlib.sha256(model.path.read_bytes()).hexdigest(),
        "task": run.task,
        "model": run.config["model"],
        "strategy": model.name,
        "classes": list(run.classes),
        "thresholds": model.thresholds,
        "leads": task.leads,
        "samples": task.samples,
        "fs": task.fs,
        "best_round": model.result.get("best_round"),
        "synthetic": bool(run.synthetic),
        "heartfed": run.facts.get("heartfed"),
        "licence": "Apache-2.0; the recordings it was trained on have licences of their own",
    }


def _content(run: Run, model: ModelFile) -> dict[str, Any]:
    return {
        "task": TASKS[run.task],
        "sources": provenance(run),
        "groups": list(_groups(run, model)),
        "federated": model.strategy not in NOT_FEDERATED,
        "trained_on": _trained_on(run, model),
    }


def _groups(run: Run, model: ModelFile) -> Iterator[tuple[str, Row]]:
    """Groups that the model was measured on, by name."""
    result = model.result
    sites = result.get("sites") or {}
    if model.site:
        if sites.get(model.site):
            yield f"{model.site} (its own test records)", sites[model.site]
        return
    for name, key in (("central", "central"), ("unseen source", "unseen")):
        if result.get(key):
            yield name, result[key]
    for source, report in (result.get("central_by_source") or {}).items():
        yield f"central, {source}", report
    for site, report in sites.items():
        if report:
            yield site, report


def _trained_on(run: Run, model: ModelFile) -> list[Row]:
    """Rows of run.json for the sites that trained it."""
    rows = [row for row in run.facts["sites"] if row["train"]]
    return [row for row in rows if not model.site or row["site"] == model.site]


def _json(facts: dict[str, Any]) -> bytes:
    return (json.dumps(facts, indent=1) + "\n").encode()
