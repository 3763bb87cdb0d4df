"""One hospital's page: the content of report/sites/<site>.html, from its `SiteView` alone."""

from typing import Any

from fl.datasets import DATASETS
from fl.ecg.tasks import TASKS
from fl.evaluation.metrics import MIN_MACRO_PATIENTS
from fl.explain.run_networks import RunNetworks
from fl.explain.saliency import Explanation
from fl.reports.figures.class_curves import at_thresholds, precision_recall, reliability, roc
from fl.reports.figures.confusion import confusion_drawing, confusion_rows, label_counts
from fl.reports.figures.decision_curve import decision_curves
from fl.reports.figures.gain_chart import gain_chart
from fl.reports.figures.most_wrong import Recordings, WrongRecording, draw, most_wrong, recording_of
from fl.reports.figures.svg import Drawing, legend
from fl.reports.pages.glossary import GLOSSARY
from fl.reports.pages.provenance import left_out
from fl.reports.pages.sentences import advice, table_of
from fl.reports.pages.site_view import SPLITS, SiteView
from fl.reports.pages.which_model import which_model
from fl.reports.templates import render
from fl.reports.terminal.notices import simulated_note


def site_page(
    view: SiteView,
    recordings: Recordings,
    networks: RunNetworks,
    arranged: Drawing | None = None,
) -> str:
    """report/sites/<site>.html; `arranged`: how the model arranges a real hospital's examples."""
    report = view.reports.get(view.main)
    return render(
        "site.html",
        view=view,
        title=f"HeartFed: {view.name}",
        synthetic=view.sources if view.synthetic else (),
        simulated_note=simulated_note(int(view.settings.get("simulated_rare") or 0)),
        confidential=view.name,
        task=TASKS[view.task],
        splits=("test",) if view.folds else SPLITS,
        advice=advice(view),
        choice=which_model(view),
        first=gain_chart(view.differences, view.main, tuple(view.reports)),
        legend=legend(tuple(view.reports), view.classes),
        table_one=[{"site": view.name, "table_one": view.table_one}] if view.table_one else [],
        cards={name: DATASETS[name].card for name in view.sources if name in DATASETS},
        left_out={name: left_out(rows) for name, rows in view.excluded.items()},
        labels=label_counts(view.labels, view.unit),
        differences=table_of(view.differences),
        report=report,
        calibration=reliability(view.predictions, _own_thresholds(view)),
        glossary=GLOSSARY,
        fewest=MIN_MACRO_PATIENTS,
        **_decisions(view),
        mistakes=list(_mistakes(view, recordings, networks)),
        arranged=arranged,
    )


def _own_thresholds(view: SiteView) -> dict[str, float] | None:
    """The thresholds of this hospital, if all its records have the same ones; else None."""
    if not view.thresholds or len(view.sources) != 1:
        return None
    return view.thresholds.get(view.sources[0], view.thresholds.get("pooled"))


def _decisions(view: SiteView) -> dict[str, Any]:
    """Tables and figures of the test predictions; empty if the run has none of this hospital."""
    found = view.predictions
    return {
        "confusion": confusion_rows(found) if len(found) else [],
        "confusion_picture": confusion_drawing(found, TASKS[view.task].exclusive, view.unit),
        "roc": roc(found),
        "pr": precision_recall(found),
        "decision_curves": decision_curves(found),
        "chosen": at_thresholds(found, view.thresholds, view.classes) if len(found) else [],
    }


def _mistakes(
    view: SiteView, recordings: Recordings, networks: RunNetworks
) -> list[tuple[WrongRecording, Drawing | str]]:
    """The most confident wrong predictions, each with its picture or the reason for none."""
    found = view.predictions
    if not len(found):
        return []
    worst = most_wrong(found, found.decided)
    return [(m, _picture(m, i, view, recordings, networks)) for i, m in enumerate(worst, start=1)]


def _picture(
    wrong: WrongRecording,
    number: int,
    view: SiteView,
    recordings: Recordings,
    networks: RunNetworks,
) -> Drawing | str:
    record = recordings.read(wrong.source, recording_of(wrong.name))
    if isinstance(record, str):
        return record
    unit = recordings.unit(wrong.source)
    looked: Explanation | str = "the model saw it as this hospital's simulated recorder delivers it"
    if not view.device:
        looked = networks.explain(record, wrong.name, wrong.wrong_class, wrong.fold)
    return draw(wrong, record, f"ecg-{number}", unit, view.synthetic, looked)
