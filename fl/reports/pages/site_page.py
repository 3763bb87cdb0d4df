"""One hospital's page: the content of report/sites/<site>.html, from its `SiteView` alone."""

from typing import Any

from fl.datasets import DATASETS
from fl.ecg.tasks import TASKS
from fl.reports.figures import class_curves
from fl.reports.figures.most_wrong import Recordings, WrongRecording, draw, most_wrong, recording_of
from fl.reports.figures.svg import Drawing
from fl.reports.pages.provenance import left_out
from fl.reports.pages.sentences import advice, table_of, unit_of
from fl.reports.pages.site_view import SPLITS, SiteView
from fl.reports.templates import render


def site_page(view: SiteView, recordings: Recordings) -> str:
    """report/sites/<site>.html."""
    report = view.reports.get(view.main)
    return render(
        "site.html",
        view=view,
        title=f"HeartFed: {view.name}",
        synthetic=view.sources if view.synthetic else (),
        task=TASKS[view.task],
        unit=unit_of(view.task),
        splits=SPLITS,
        advice=advice(view),
        cards={name: DATASETS[name].card for name in view.sources if name in DATASETS},
        left_out={name: left_out(rows) for name, rows in view.excluded.items()},
        labels=class_curves.label_counts(view.labels, unit_of(view.task)),
        differences=table_of(view.differences),
        report=report,
        calibration=class_curves.reliability(view.predictions, _own_thresholds(view)),
        **_decisions(view),
        mistakes=list(_mistakes(view, recordings)),
    )


def _own_thresholds(view: SiteView) -> dict[str, float] | None:
    """The thresholds of this hospital, if all its records have the same ones; else None."""
    if not view.thresholds or len(view.sources) != 1:
        return None
    return view.thresholds.get(view.sources[0], view.thresholds.get("pooled"))


def _decisions(view: SiteView) -> dict[str, Any]:
    """Tables and figures of the test predictions; empty if the run has none of this hospital."""
    found, unit = view.predictions, unit_of(view.task)
    if not len(found):
        return {"confusion": [], "confusion_picture": None, "roc": None, "pr": None, "chosen": []}
    exclusive = TASKS[view.task].exclusive
    predicted = found.decided
    rows = class_curves.confusion_rows(found, predicted)
    return {
        "confusion": rows,
        "confusion_picture": class_curves.confusion_picture(found, predicted, unit)
        if exclusive
        else class_curves.confusion_bars(rows, unit),
        "roc": class_curves.roc(found, view.thresholds),
        "pr": class_curves.precision_recall(found, view.thresholds),
        "chosen": class_curves.at_thresholds(found, view.thresholds, view.classes)
        if view.thresholds
        else [],
    }


def _mistakes(view: SiteView, recordings: Recordings) -> list[tuple[WrongRecording, Drawing | str]]:
    """The most confident wrong predictions, each with its picture or the reason for none."""
    found = view.predictions
    if not len(found):
        return []
    worst = most_wrong(found, found.decided)
    return [(m, _picture(m, i, view, recordings)) for i, m in enumerate(worst, start=1)]


def _picture(
    wrong: WrongRecording, number: int, view: SiteView, recordings: Recordings
) -> Drawing | str:
    record = recordings.read(wrong.source, recording_of(wrong.name))
    if isinstance(record, str):
        return record
    unit = recordings.unit(wrong.source)
    return draw(wrong, record, f"ecg-{number}", unit, view.synthetic)
