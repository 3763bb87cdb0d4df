"""The results of the rhythm study as Markdown tables and as a figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.common.plots import svg
from fl.ecg.tasks import Task
from fl.evaluation.group_evaluation import GroupMeasures
from fl.reports.number_format import estimate, number
from fl.util.atomic_io import write_atomically

Content = Mapping[str, Any]
MAIN = ("cpsc2018-lead1", "cpsc2018", "mitdb")  # the sources that a default run trains on


def named(content: Content, prefix: str) -> dict[str, Any]:
    """Results `prefix/name` by name, in the order in which they were made."""
    return {
        key.removeprefix(f"{prefix}/"): value
        for key, value in content["results"].items()
        if key.startswith(f"{prefix}/")
    }


def heading(content: Content, task: Task) -> list[str]:
    """A description of the study, the command, and the number of patients in each fold."""
    inputs = f"the signal and {len(task.features)} measured features" if task.features else ""
    lines = [
        "## Rhythm, pooled: five-fold cross-validation over every source found",
        "",
        f"Inputs: {inputs or 'the signal alone'} (task `{task.name}`). Every patient is tested "
        "once, by a network trained on the other folds. Each fold's other "
        "patients are split again into those that train and those that validate; choices and "
        "thresholds are made on the latter.",
        "",
        f"Made by `{content['command']}` on {content['machine']}, torch {content['torch']}, seed "
        f"{content['settings']['seed']}.",
        "",
    ]
    folds = content["results"].get("counts")
    if folds:
        lines += ["| patients tested | " + " | ".join(map(str, range(len(folds)))) + " |"]
        lines += ["| --- |" + " --- |" * len(folds)]
        for source in sorted(folds[0]["test"]):
            cells = [str(fold["test"].get(source, 0)) for fold in folds]
            lines.append(f"| {source} | {' | '.join(cells)} |")
    return [*lines, ""]


def choice_table(content: Content, prefix: str = "choice", title: str = "") -> list[str]:
    """Validation results of the candidates: mean over folds, standard deviation in brackets."""
    rows = named(content, prefix)
    if not rows:
        return []
    folds = sorted({fold["fold"] for row in rows.values() for fold in row["folds"]})
    lines = [
        f"### {title or 'Choices, on validation patients'}",
        "",
        f"Folds {', '.join(map(str, folds))}; macro-AUROC on validation, mean over folds "
        "(standard deviation), and the validation loss of all sources.",
        "",
        f"| trained | weights | {' | '.join(MAIN)} | loss | s per fold |",
        f"| --- | --- | {'--- | ' * len(MAIN)}--- | --- |",
    ]
    for name, row in rows.items():
        cells = [_mean_sd([_auroc(f, s) for f in row["folds"]]) for s in MAIN]
        loss = _mean_sd([f["loss"] for f in row["folds"]], digits=4)
        seconds = np.mean([f["seconds"] for f in row["folds"]])
        lines.append(f"| {name} | {row['size']:,} | {' | '.join(cells)} | {loss} | {seconds:.0f} |")
    return [*lines, ""]


def _auroc(fold: Mapping[str, Any], source: str) -> float | None:
    found = fold["sources"].get(source)
    return None if found is None else found["macro_auroc"]


def _mean_sd(values: Sequence[float | None], digits: int = 3) -> str:
    known = [v for v in values if v is not None]
    if not known:
        return "n/a"
    return f"{np.mean(known):.{digits}f} ({np.std(known):.{digits}f})"


def result_tables(content: Content, figure: str) -> list[str]:
    """Test results: every network, then the default network class by class, and its `figure`."""
    rows = named(content, "test")
    if not rows:
        return []
    first = next(iter(rows))
    lines = [
        "### Five folds: every patient tested once, by a network that was not trained on them",
        "",
        "Thresholds per class and source from each fold's validation patients. [low, high]: 95% "
        "by bootstrap over patients, of all folds' predictions together; the column folds has the "
        "mean and the standard deviation of the folds' own AUROCs.",
        "",
        "| network | weights | source | macro-AUROC | folds | macro-AUPRC | macro-F1 "
        "| mean accuracy | Brier | ECE |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in rows.items():
        order = [*MAIN, *(s for s in row["sources"] if s not in MAIN)]
        lines += [_network_row(name, row, s) for s in order if s in row["sources"]]
    lines += ["", *official_table(rows)]
    for source in (s for s in rows[first]["sources"] if s in MAIN):
        lines += class_table(first, source, measures_of(rows[first], source))
    lines += part_table(first, {s: measures_of(rows[first], s) for s in rows[first]["sources"]})
    return [*lines, f"![Reliability of the default network]({figure})", ""]


def measures_of(row: Mapping[str, Any], source: str) -> GroupMeasures:
    """A network's measures on the patients of one source."""
    return GroupMeasures.from_json(row["sources"][source], f"the results on {source}")


def _network_row(name: str, row: Mapping[str, Any], source: str) -> str:
    found = measures_of(row, source)
    cells = [
        name,
        f"{row['size']:,}",
        f"{source} ({found.n_patients} patients)",
        estimate(found.macro_auroc),
        _mean_sd([fold.get(source) for fold in row["folds"]]),
        number(found.macro_auprc),
        estimate(found.macro_f1),
        number(found.accuracy),
        number(found.macro_brier),
        number(found.macro_ece),
    ]
    return f"| {' | '.join(cells)} |"


def official_table(rows: Mapping[str, Any]) -> list[str]:
    """CPSC2018's own score of each network."""
    n = next(iter(rows.values()))["official"]["n"]
    lines = [
        f"CPSC2018's official score (one answer per recording, {n} recordings with a first label; "
        "most of them lead I alone, so it is not comparable with twelve-lead entries): "
    ]
    scores = [f"{name} {number(row['official']['f1'])}" for name, row in rows.items()]
    return [lines[0] + ", ".join(scores) + ".", ""]


def class_table(name: str, source: str, found: GroupMeasures) -> list[str]:
    """The results of one source, class by class."""
    lines = [
        f"#### {name} on {source}, class by class",
        "",
        "| class | positives of | prevalence | AUROC | AUPRC | F1 | accuracy | Brier | ECE |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for label, entry in found.classes.items():
        cells = [
            number(getattr(entry, key))
            for key in ("prevalence", "auroc", "auprc", "f1", "accuracy", "brier", "ece")
        ]
        lines.append(f"| {label} | {entry.positive} of {entry.n} | {' | '.join(cells)} |")
    return [*lines, ""]


def part_table(name: str, sources: Mapping[str, GroupMeasures]) -> list[str]:
    """Results by sex and age band, where they are known."""
    lines = [
        f"#### {name} by sex and age, where known",
        "",
        "| source | part | patients | records | macro-AUROC | macro-F1 | classes measured |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for source, found in sources.items():
        for kind in ("sex", "age"):
            for part, entry in (found.subgroups or {}).get(kind, {}).items():
                if entry is None:
                    continue
                cells = [number(entry.macro_auroc), number(entry.macro_f1)]
                lines.append(
                    f"| {source} | {part} | {entry.n_patients} | {entry.n_records} | "
                    f"{' | '.join(cells)} | {len(entry.macro_classes)} |"
                )
    return [*lines, ""]


def reliability_figure(results: Mapping[str, Any], path: Path) -> None:
    """Write the reliability diagram of the first network, one curve per source."""
    curves = next(v["reliability"] for k, v in results.items() if k.startswith("test/"))
    figure = Figure(figsize=(4.5, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="perfect calibration")
    for source, marker in zip(MAIN, "osD", strict=True):
        if source in curves:
            predicted = [point["mean_p"] for point in curves[source]]
            observed = [point["observed"] for point in curves[source]]
            axes.plot(predicted, observed, marker=marker, markersize=4, label=source)
    axes.set(xlabel="mean predicted probability", ylabel="observed share of positives")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.legend(frameon=False, fontsize=8)
    write_atomically(path, svg(figure))
