"""The part of a run that one hospital may see: its own patients and the model.

A hospital's page is made from a `SiteView` only, so what is not in a `SiteView` cannot be on
the page: no record, patient or count of another site, of the central records or of the federation.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from fl.evaluation.decisions.thresholds import Thresholds
from fl.evaluation.group_evaluation import GroupMeasures
from fl.evaluation.predictions import Predictions
from fl.evaluation.strategy_comparison import ComparisonRow
from fl.reports.run_files import CENTRAL, UNSEEN, Run
from fl.reports.units import unit_of, units
from fl.runs.run_facts import AuditHead, SiteFailure
from fl.training.saved_weights import own_model_name

SPLITS = ("train", "val", "test")
# Settings that say how the model was trained and nothing of who took part.
SHOWN_SETTINGS = (
    *("task", "model", "strategy", "mu", "proximal", "rounds", "local_epochs", "batch_size", "lr"),
    *("weight_decay", "imbalance", "loss_weights", "augment", "per_recording", "schedule"),
    *("filter", "rhythm_features", "simulated_rare", "dropout", "signal_dropout"),
    *("optimizer_state", "weighting", "averaging", "seed"),
)


@dataclass(frozen=True, kw_only=True)
class SiteView:
    """The part of a run that one hospital may see."""

    name: str
    run_name: str
    task: str
    classes: tuple[str, ...]
    synthetic: bool
    main: str  # the strategy that the page reports on
    compared: bool
    deployed: bool  # a real hospital
    settings: dict[str, Any]
    versions: dict[str, str]
    heartfed: str
    started: str
    audit: AuditHead | None  # of this hospital's own log
    sources: tuple[str, ...]
    folds: int  # of its patients, each of whom is tested once; 0 without folds
    unit: str  # what its examples are called
    patients: int
    table_one: dict[str, Any] | None  # who its patients are; None in runs of earlier versions
    n: dict[str, int]  # records by split
    labels: dict[str, dict[str, int]]  # class -> split -> records that show it
    excluded: dict[str, dict[str, list[str]]]  # source that no other site has -> reason -> records
    unattributed: tuple[str, ...]  # sources whose left-out recordings belong to no one site
    device: dict[str, Any] | None
    reports: dict[str, GroupMeasures]  # strategy -> the site's own measures
    thresholds: dict[str, Thresholds] | None  # of the main strategy, for its sources
    chosen: str  # the main strategy's weights, in words
    chosen_how: str  # what chose them, in words
    differences: list[ComparisonRow]
    failures: list[SiteFailure]
    predictions: Predictions  # of the main strategy
    # Strategy, or `local` -> the file in the run directory of the model that answered here.
    model_files: dict[str, str]


def _settings(run: Run) -> dict[str, Any]:
    """The settings that may be shown; in a comparison, with the main strategy's learning rate."""
    asked = run.config | {"strategy": run.main}
    lr = run.strategies[run.main].lr
    used = {} if lr is None else {"lr": lr}
    return {name: (asked | used)[name] for name in SHOWN_SETTINGS if name in asked}


def view_of_site(run: Run, site: str) -> SiteView:
    """The part of a run that one hospital may see."""
    mine = [row for row in run.partition if row["site"] == site]
    sources = tuple(sorted({row["source"] for row in mine}))
    main = run.strategies[run.main]
    alone = _alone(run, site, sources)
    return SiteView(
        name=site,
        run_name=run.folder.resolve().name,
        task=run.task,
        classes=run.classes,
        synthetic=bool(set(run.synthetic) & set(sources)),
        main=run.main,
        compared=run.comparison is not None,
        deployed=run.deployed,
        settings=_settings(run),
        versions=run.facts.versions,
        heartfed=run.facts.heartfed,
        started=run.facts.started,
        audit=run.facts.audit if run.facts.audit and run.facts.audit.of == site else None,
        sources=sources,
        folds=run.folds,
        unit=unit_of(run.task, sources, units(run.task, run.facts.data)),
        patients=len({row["patient"] for row in mine}),
        table_one=_table_one(run, site),
        n={split: sum(row["split"] == split for row in mine) for split in SPLITS},
        labels=_labels(mine, run.classes, ("test",) if run.folds else SPLITS),
        excluded={
            entry.source: entry.excluded for entry in run.facts.data if entry.source in alone
        },
        unattributed=tuple(s for s in sources if s not in alone),
        device=(run.facts.devices or {}).get(site),
        reports={
            name: measures
            for name, result in run.strategies.items()
            if (measures := result.sites.get(site))
        },
        thresholds=_thresholds(main.thresholds, sources),
        chosen=main.chosen,
        chosen_how=main.chosen_how,
        differences=[row for row in run.differences if row.site == site],
        failures=[row for row in run.facts.failures if row.site == site],
        predictions=run.predictions.of(run.main, site),
        model_files=_model_files(run, site),
    )


def _model_files(run: Run, site: str) -> dict[str, str]:
    """The hospital's own models, and the models of all where it has none of its own."""
    found = {}
    for name in run.strategies:
        own = f"weights/{own_model_name(name, site)}"
        files = (
            f"{own}.safetensors",
            f"{own}-best.safetensors",
            f"weights/{name}-best.safetensors",
        )
        if file := next((file for file in files if (run.folder / file).is_file()), ""):
            found[name] = file
    return found


def _alone(run: Run, site: str, sources: tuple[str, ...]) -> set[str]:
    """Sources that no other hospital has, whose left-out recordings are therefore its own."""
    own = (site, CENTRAL, UNSEEN)
    others = {row["source"] for row in run.partition if row["site"] not in own}
    return {source for source in sources if source not in others}


def _table_one(run: Run, site: str) -> dict[str, Any] | None:
    return next((row.get("table_one") for row in run.facts.sites if row["site"] == site), None)


def _labels(
    rows: list[dict[str, str]], classes: tuple[str, ...], splits: tuple[str, ...]
) -> dict[str, dict[str, int]]:
    counts = Counter((c, row["split"]) for row in rows for c in row["labels"].split("|"))
    return {c: {split: counts[c, split] for split in splits} for c in classes}


def _thresholds(
    found: dict[str, Thresholds] | None, sources: tuple[str, ...]
) -> dict[str, Thresholds] | None:
    """The thresholds used at this site: those of its sources, and the pooled ones."""
    if not found:
        return None
    return {name: row for name, row in found.items() if name in ("pooled", *sources)}
