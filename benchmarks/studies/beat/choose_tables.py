"""The comparisons on DS1 and SVDB as Markdown tables."""

from collections.abc import Sequence

from benchmarks.studies.beat.choose import DATABASES, DETECTOR
from benchmarks.studies.beat.measures import RANKED, Measured, counts_of
from benchmarks.studies.beat.recipes import RECIPES
from benchmarks.studies.beat.table_cells import (
    Content,
    Run,
    f1,
    header,
    line,
    macro,
    made_by,
    mean,
    mean_ap,
    number,
    ranged,
    runs_of,
    spread,
)
from fl.evaluation.ec57 import intervals

NAMES = {"mitdb": "DS1", "svdb": "SVDB"}
MOST_S = "209"  # the record with four tenths of the S beats of DS1
MOST_FIBRILLATION = "203"  # most false S beats of DS1 are his
ABOUT_FOLDS = (
    "Five folds of the records of DS1, each with a fifth of SVDB's patients: every patient is "
    "tested once, by a network that neither trained nor validated on him. In each fold 15% of the "
    "training patients of each database (at least 4) validate; calibration and operating points "
    "of S and V are chosen on them. A row below the first changes what its name says. AP: average "
    "precision of the calibrated probabilities, all folds together, with the middle 95% of draws "
    "of patients. Beats pooled, mean over the seeds; the last column but one is the standard "
    "deviation of S F1 over them."
)
ABOUT_DETECTED = (
    f"The same networks on the beats that the {DETECTOR} detector finds. Missed and false beats "
    "count, as ANSI/AAMI EC57 asks; beats in ventricular fibrillation are not compared."
)
ABOUT_LEFT_OUT = (
    "One database trains and 15% of its patients validate; the other is tested, at the pooled "
    "operating point. Mean over the seeds; the middle 95% of draws of patients, for AP the mean "
    "of each training's interval."
)


def choose_tables(content: Content) -> list[str]:
    """Every table of the comparisons; nothing where none is stored."""
    rows, left_out = runs_of(content, "choose"), runs_of(content, "leave one out")
    if not rows and not left_out:
        return []
    return [
        "",
        "### How the settings were chosen: DS1 and SVDB, without DS2",
        "",
        made_by(content, " --choose", "choose"),
        *(_folds(rows) if rows else []),
        *(_left_out(left_out) if left_out else []),
        *_fibrillation(content),
    ]


def _ordered(rows: dict[str, dict[str, Run]]) -> list[tuple[str, list[Run]]]:
    names = sorted(rows, key=lambda name: [*RECIPES, name].index(name))
    return [(name, list(rows[name].values())) for name in names]


def _folds(rows: dict[str, dict[str, Run]]) -> list[str]:
    lines = ["", ABOUT_FOLDS]
    for database in DATABASES:
        lines += ["", f"#### Annotated beats of {NAMES[database]}", "", *_header(database)]
        lines += [_row(name, _of(runs, "annotated"), database) for name, runs in _ordered(rows)]
    detected = [(name, _of(runs, DETECTOR)) for name, runs in _ordered(rows)]
    detected = [(name, runs) for name, runs in detected if runs]
    if not detected:
        return lines
    lines += ["", ABOUT_DETECTED]
    for database in DATABASES:
        lines += ["", f"#### Detected beats of {NAMES[database]}", "", *_header(database, ())]
        lines += [_row(name, runs, database, ()) for name, runs in detected]
    beats, detections = detected[0][1][0]["left_out"]  # alike in all: no network decides it
    return [
        *lines,
        "",
        f"Not compared, in ventricular fibrillation: {beats} annotated beats and {detections} "
        "detections, of both databases.",
    ]


def _of(runs: Sequence[Run], kind: str) -> list[Measured]:
    return [run[kind] for run in runs if kind in run]


def _header(database: str, ranked: Sequence[str] = RANKED) -> list[str]:
    aps = [f"{name} AP" for name in ranked]
    without = [f"S F1 without {record}" for record in _singled_out(database)]
    return header("recipe", *aps, "S F1", "V F1", "macro-F1", *without, "S F1, sd", "seeds")


def _singled_out(database: str) -> tuple[str, ...]:
    return (MOST_S, MOST_FIBRILLATION) if database == "mitdb" else ()


def _row(name: str, runs: Sequence[Measured], database: str, ranked: Sequence[str] = RANKED) -> str:
    counts = [counts_of(run, of=database) for run in runs]
    s_f1 = [f1(c, "S") for c in counts]
    cells = [name, *(mean_ap(runs, database, one) for one in ranked), number(mean(s_f1))]
    cells += [number(mean([f1(c, "V") for c in counts])), number(mean([macro(c) for c in counts]))]
    for record in _singled_out(database):
        fewer = [counts_of(run, of=database, without=[record]) for run in runs]
        cells.append(number(mean([f1(c, "S") for c in fewer])))
    return line([*cells, spread(s_f1), str(len(runs))])


def _left_out(rows: dict[str, dict[str, Run]]) -> list[str]:
    lines = ["", "#### One database trains, the other is tested", "", ABOUT_LEFT_OUT, ""]
    lines += header(
        "trained", "tested", "recipe", "S AP", "V AP", "S F1", "V F1", "macro-F1", "seeds"
    )
    for tested, trained in zip(DATABASES, reversed(DATABASES), strict=True):
        for name, runs in _ordered(rows):
            found = _of(runs, tested)
            counts = [counts_of(run) for run in found]
            wide = intervals(counts, seed=0)
            cells = [NAMES[trained], NAMES[tested], name]
            cells += [mean_ap(found, tested, one) for one in RANKED]
            for one in RANKED:
                value = mean([f1(c, one) for c in counts])
                cells.append(ranged(value, wide["classes"][one]["f1"]))
            cells.append(ranged(mean([macro(c) for c in counts]), wide["macro_f1"]))
            lines.append(line([*cells, str(len(found))]))
    return lines


def _fibrillation(content: Content) -> list[str]:
    found = content["results"].get("fibrillation")
    if not found:
        return []
    return [
        "",
        f"Fibrillation by the feature `irregular 60`: slope {found['slope']:.2f}, as probable as "
        f"not at {found['at']:.2f} (logistic regression on the rhythm annotations of "
        f"{found['records']} records of DS1, each counted alike).",
    ]
