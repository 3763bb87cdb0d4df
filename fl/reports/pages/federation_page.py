"""The federation's page: the content of report/index.html, every number from the run's files."""

import hashlib
from typing import Any

from fl.config.run_config import NOT_FEDERATED
from fl.ecg.tasks import TASKS
from fl.evaluation.group_evaluation import Estimate, GroupMeasures
from fl.evaluation.metrics import MIN_MACRO_PATIENTS
from fl.evaluation.paired_bootstrap import METRICS
from fl.evaluation.strategy_comparison import ComparisonRow
from fl.reports.arrangement import arrangement_drawing
from fl.reports.attack_text import attack_section
from fl.reports.card import model_files
from fl.reports.figures import federation_charts
from fl.reports.figures.class_curves import precision_recall, reliability, roc
from fl.reports.figures.confusion import confusion_drawing, confusion_rows
from fl.reports.figures.decision_curve import decision_curves
from fl.reports.figures.flow_diagram import flow_diagram
from fl.reports.figures.gain_chart import gain_chart
from fl.reports.figures.label_mix import label_mix_drawing
from fl.reports.figures.svg import Drawing, legend
from fl.reports.pages.first_answer import first_answer
from fl.reports.pages.glossary import GLOSSARY
from fl.reports.pages.participants import flow, table_one
from fl.reports.pages.provenance import provenance
from fl.reports.pages.sentences import details, sites_above, table_of
from fl.reports.pages.tripod_checklist import checklist
from fl.reports.pages.what_left import contents, measures, totals, weights_size
from fl.reports.privacy_text import privacy_sentences
from fl.reports.run_files import CENTRAL, Run
from fl.reports.shown_sites import not_shown
from fl.reports.templates import render
from fl.reports.terminal.notices import simulated_note
from fl.reports.transfer_text import transfer_sentences
from fl.reports.units import EXAMPLES, UnitAt, units_at


def federation_page(run: Run) -> str:
    """report/index.html."""
    results = run.strategies[run.main]
    return render(
        "index.html",
        run=run,
        title=f"HeartFed: {run.folder.resolve().name}",
        synthetic=run.synthetic,
        simulated_note=simulated_note(run.simulated_rare),
        task=TASKS[run.task],
        unit_at=unit_at(run),
        answer=first_answer(run),
        first=first_figure(run),
        legend=legend(tuple(run.strategies), run.classes),
        details=details(run),
        above=sites_above(run),
        metrics=METRICS,
        sources=provenance(run),
        origin=transfer_sentences(run.facts.transfer) if run.facts.transfer else [],
        flow=flow_diagram(flow(run)),
        table_one=table_one(_rows(run)),
        mix=label_mix(run) if run.has_label_counts else None,
        curves=federation_charts.learning(run),
        by_site=federation_charts.by_site(run) if run.comparison else None,
        overview=overview(run),
        forests=forests(run),
        differences=table_of(_differences(run)),
        rows=_rows(run),
        not_shown=not_shown(len(run.shown), len(run.sites), "hospitals"),
        budget=run.comparison.budget if run.comparison else None,
        main=run.main,
        results=results,
        shown=results.central,
        unseen=[(name, r.unseen) for name, r in run.strategies.items() if r.unseen],
        attack=attack_section(run.folder),
        failures=run.facts.failures,
        privacy=privacy_sentences(run.facts.privacy) if run.facts.privacy else [],
        contents=contents(bool(run.config.get("secure_aggregation"))),
        totals=totals(run),
        sent_measures=measures(),
        weights_size=weights_size(run),
        weights=checksums(run),
        items=checklist(run),
        glossary=GLOSSARY,
        fewest=MIN_MACRO_PATIENTS,
        arranged=arrangement_drawing(run.folder),
        cards=[model.name for model in model_files(run) if _card(run, model.name)],
        **_central(run),
    )


def _central(run: Run) -> dict[str, Any]:
    """Tables and figures of the decisions on central records; None without any.

    With folds every fold's model answers for the same records: those of the first are counted.
    """
    found = run.predictions.of(run.main, CENTRAL)
    if run.folds and len(found):
        found = found.take(found.fold == found.fold[0])
    unit = unit_at(run)(CENTRAL)
    return {
        "confusion": confusion_rows(found) if len(found) else [],
        "confusion_picture": confusion_drawing(found, TASKS[run.task].exclusive, unit),
        "roc": roc(found),
        "pr": precision_recall(found),
        "reliability": reliability(found),
        "decision_curves": decision_curves(found),
    }


def first_figure(run: Run) -> Drawing | None:
    """Each hospital's gain and distance; of a run that compares nothing, its macro-F1."""
    if run.comparison:
        return gain_chart(_differences(run), run.main, tuple(run.strategies))
    return federation_charts.by_site(run)


def unit_at(run: Run) -> UnitAt:
    """What the examples of a site, `central`, `unseen` or a source are called."""
    return units_at(run.task, run.facts.data, run.facts.sites)


def label_mix(run: Run) -> Drawing:
    """The label mix of the run's sites."""
    rows = _rows(run)
    found = {unit_at(run)(row["site"]) for row in rows}
    unit = found.pop() if len(found) == 1 else EXAMPLES
    return label_mix_drawing(rows, run.classes, unit, run.facts.non_iid)


def _rows(run: Run) -> list[dict[str, Any]]:
    """Rows of run.json for the hospitals that the page names, and for records of no hospital."""
    return [row for row in run.facts.sites if run.shows(row["site"])]


def _differences(run: Run) -> list[ComparisonRow]:
    """Differences at the hospitals that the page names, and over groups of hospitals."""
    return [row for row in run.differences if run.shows(row.site)]


def _card(run: Run, name: str) -> bool:
    return (run.folder / "weights" / f"{name}.md").is_file()


def overview(run: Run) -> list[dict[str, Any]]:
    """One row per strategy: central, mean of sites, worst site, spread, unseen, each site."""
    return [
        {
            "name": name,
            "central": _f1(result.central),
            "central_auroc": result.central.macro_auroc if result.central else None,
            "mean": result.site_mean,
            "worst": result.worst_site,
            "spread": result.spread,
            "unseen": _f1(result.unseen),
            "sites": {site: _f1(result.sites.get(site)) for site in run.shown},
        }
        for name, result in run.strategies.items()
    ]


def _f1(measures: GroupMeasures | None) -> Estimate | None:
    return measures.macro_f1 if measures else None


def forests(run: Run) -> list[Drawing]:
    """The forest plots: against each baseline, by each measure."""
    drawn = [
        federation_charts.forest(_differences(run), against, metric, tuple(run.strategies))
        for metric in ("macro_f1", "macro_auroc")
        for against in NOT_FEDERATED
    ]
    return [drawing for drawing in drawn if drawing]


def checksums(run: Run) -> list[tuple[str, str]]:
    """SHA-256 of every set of weights."""
    files = sorted((run.folder / "weights").glob("*.safetensors"))
    return [(f.name, hashlib.sha256(f.read_bytes()).hexdigest()) for f in files]
