"""The federation's page: the content of report/index.html, every number from the run's files."""

import hashlib
from typing import Any

from fl.ecg.tasks import TASKS
from fl.evaluation.group_evaluation import Estimate, GroupMeasures
from fl.reports.card import model_files
from fl.reports.figures import federation_charts
from fl.reports.figures.class_curves import reliability
from fl.reports.figures.label_mix import label_mix_drawing
from fl.reports.figures.svg import Drawing
from fl.reports.pages.provenance import provenance
from fl.reports.pages.sentences import answer, question, share_of_pooled, table_of, unit_of
from fl.reports.pages.tripod_checklist import checklist
from fl.reports.run_files import CENTRAL, Run
from fl.reports.templates import render


def federation_page(run: Run) -> str:
    """report/index.html."""
    results = run.strategies[run.main]
    return render(
        "index.html",
        run=run,
        title=f"HeartFed: {run.folder.resolve().name}",
        synthetic=run.synthetic,
        task=TASKS[run.task],
        unit=unit_of(run.task),
        question=question(run),
        answer=answer(run),
        sources=provenance(run),
        mix=label_mix(run) if run.has_label_counts else None,
        curves=federation_charts.learning(run),
        by_site=federation_charts.by_site(run),
        overview=overview(run),
        forests=forests(run),
        differences=table_of(run.differences),
        budget=run.comparison.budget if run.comparison else None,
        main=run.main,
        results=results,
        shown=results.central,
        reliability=reliability(run.predictions.of(run.main, CENTRAL)),
        unseen=[(name, r.unseen) for name, r in run.strategies.items() if r.unseen],
        failures=run.facts.failures,
        weights=checksums(run),
        items=checklist(run),
        cards=[model.name for model in model_files(run) if _card(run, model.name)],
    )


def label_mix(run: Run) -> Drawing:
    """The label mix of the run's sites."""
    facts = run.facts
    return label_mix_drawing(facts.sites, run.classes, unit_of(run.task), facts.non_iid)


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
            "sites": {site: _f1(result.sites.get(site)) for site in run.sites},
            "share": share_of_pooled(run, name) if "pooled" in run.strategies else None,
        }
        for name, result in run.strategies.items()
    ]


def _f1(measures: GroupMeasures | None) -> Estimate | None:
    return measures.macro_f1 if measures else None


def forests(run: Run) -> list[Drawing]:
    """The forest plots: against each baseline, by each measure."""
    drawn = [
        federation_charts.forest(run.differences, against, metric, tuple(run.strategies))
        for metric in ("macro_f1", "macro_auroc")
        for against in ("local", "pooled")
    ]
    return [drawing for drawing in drawn if drawing]


def checksums(run: Run) -> list[tuple[str, str]]:
    """SHA-256 of every set of weights."""
    files = sorted((run.folder / "weights").glob("*.safetensors"))
    return [(f.name, hashlib.sha256(f.read_bytes()).hexdigest()) for f in files]
