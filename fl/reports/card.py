"""The model card beside the weights, and the JSON file that prediction reads with them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fl.config.run_config import NOT_FEDERATED
from fl.datasets import DATASETS
from fl.datasets.base import Card
from fl.ecg.tasks import TASKS
from fl.evaluation.decisions.decision_rule import DecisionRule
from fl.evaluation.group_evaluation import GroupMeasures
from fl.reports.pages.participants import patients_of
from fl.reports.privacy_text import privacy_sentences
from fl.reports.run_files import Run
from fl.reports.shown_sites import not_shown
from fl.reports.templates import render
from fl.reports.terminal.notices import simulated_note
from fl.reports.transfer_text import transfer_sentences
from fl.reports.units import unit_of, units
from fl.runs.results import TrainingSummary
from fl.training.saved_weights import weights_facts
from fl.util.atomic_io import write_atomically

SUFFIX = "-best.safetensors"


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """One file of weights, and the results that belong to it."""

    name: str  # `fedavg`, `pooled`, `local-site-3`
    path: Path
    task: str
    strategy: str
    site: str  # whose own model it is; "" for a model of all
    result: TrainingSummary

    @property
    def rule(self) -> DecisionRule | None:
        """How the model decides; None if it is not known of this model alone."""
        result = self.result
        thresholds, calibration = result.thresholds, result.calibration
        if self.site:
            thresholds = result.thresholds_by_site.get(self.site)
            calibration = result.calibration_by_site.get(self.site)
        if thresholds is None or calibration is None:
            return None
        task = TASKS[self.task]
        return DecisionRule(
            thresholds=thresholds,
            calibration=calibration,
            alone=task.alone,
            otherwise=task.otherwise,
        )


def model_files(run: Run) -> Iterator[ModelFile]:
    """Every best set of weights in the run directory."""
    for path in sorted((run.folder / "weights").glob(f"*{SUFFIX}")):
        name = path.name.removesuffix(SUFFIX)
        strategy, site = (name, "") if name in run.strategies else ("local", name[len("local-") :])
        if strategy in run.strategies and (not site or name.startswith("local-")):
            result = run.strategies[strategy]
            yield ModelFile(
                name=name, path=path, task=run.task, strategy=strategy, site=site, result=result
            )


def write_cards(run: Run) -> None:
    """`weights/<name>.md` and `weights/<name>.json` for every model that can be used alone."""
    for model in model_files(run):
        if model.rule is None:
            continue  # without thresholds its probabilities decide nothing
        facts = sidecar(run, model, model.rule)
        write_atomically(model.path.with_name(f"{model.name}.json"), _json(facts))
        text = render("card.md", run=run, model=model, facts=facts, **_content(run, model))
        write_atomically(model.path.with_name(f"{model.name}.md"), text.encode())


def sidecar(run: Run, model: ModelFile, rule: DecisionRule) -> dict[str, Any]:
    """The content of the JSON file: what prediction needs besides the weights."""
    transfer = run.facts.transfer
    return weights_facts(
        model.path,
        task=run.task,
        model=run.config["model"],
        strategy=model.name,
        decision=rule.to_json(),
        best_round=model.result.best_round,
        synthetic=bool(run.synthetic),
        simulated_rare=run.simulated_rare,
        heartfed=run.facts.heartfed,
        averaged=model.result.averaged,
        transfer=transfer.to_json() if transfer else None,
        sources=[source.name for source in training_sources(run, model)],
    )


def _content(run: Run, model: ModelFile) -> dict[str, Any]:
    return {
        "task": TASKS[run.task],
        "origin": transfer_sentences(run.facts.transfer) if run.facts.transfer else [],
        "sources": training_sources(run, model),
        "groups": [(name, one) for name, one in _groups(model) if run.shows(name)],
        "privacy": privacy_sentences(run.facts.privacy) if run.facts.privacy else [],
        "federated": model.strategy not in NOT_FEDERATED,
        "trained_on": _trained_on(run, model),
        "not_shown": "" if model.site else not_shown(len(run.shown), len(run.sites), "hospitals"),
        "simulated_note": simulated_note(run.simulated_rare),
    }


def _groups(model: ModelFile) -> Iterator[tuple[str, GroupMeasures]]:
    """The groups of test records that the model was measured on, by name."""
    result = model.result
    if model.site:
        own = result.sites.get(model.site)
        if own:
            yield f"{model.site} (its own test records)", own
        return
    groups = {"central": result.central, "unseen source": result.unseen}
    groups |= {f"central, {source}": one for source, one in result.central_by_source.items()}
    groups |= result.sites
    yield from ((name, measures) for name, measures in groups.items() if measures)


@dataclass(frozen=True, kw_only=True)
class TrainingSource:
    """What a model learned from one source; None where the coordinator is not told."""

    name: str
    card: Card | None
    synthetic: bool
    sites: tuple[str, ...]
    patients: int | None  # whose records the weights were trained on
    examples: int | None
    validation_patients: int | None  # on whom the round and the thresholds were chosen
    unit: str


def training_sources(run: Run, model: ModelFile) -> list[TrainingSource]:
    """The sources that trained this model, and no other: of one site's own model, its own."""
    sites = {model.site} if model.site else set(run.sites)
    rows = [row for row in run.partition if row["site"] in sites]
    stated = [row for row in run.facts.sites if row["site"] in sites]
    names = {row["source"] for row in rows} or {s for row in stated for s in row["sources"]}
    return [_training_source(run, name, rows, stated) for name in sorted(names)]


def _training_source(
    run: Run, name: str, rows: list[dict[str, str]], stated: list[dict[str, Any]]
) -> TrainingSource:
    source = DATASETS.get(name)
    train, val = (
        [row for row in rows if row["source"] == name and row["split"] == split]
        for split in ("train", "val")
    )
    return TrainingSource(
        name=name,
        card=source.card if source else None,
        synthetic=name in run.synthetic,
        sites=tuple(row["site"] for row in stated if name in row["sources"]),
        patients=patients_of(train) if rows else None,
        examples=len(train) if rows else None,
        validation_patients=patients_of(val) if rows else None,
        unit=unit_of(run.task, [name], units(run.task, run.facts.data)),
    )


def _trained_on(run: Run, model: ModelFile) -> list[dict[str, Any]]:
    """Rows of run.json for the sites that trained it."""
    rows = [row for row in run.facts.sites if row["train"]]
    if model.site:
        return [row for row in rows if row["site"] == model.site]
    return [row for row in rows if run.shows(row["site"])]


def _json(facts: dict[str, Any]) -> bytes:
    return (json.dumps(facts, indent=1) + "\n").encode()
