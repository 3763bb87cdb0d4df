"""The worth of each part of ResLSTM-TemporalSE: switched off one at a time, on the same folds.

    python -m benchmarks.studies.ablation --data-dir DATA

Measured on the validation patients of the folds of benchmarks/studies/rhythm.py; each variant is
compared with the whole network on the same patients. Finished folds are stored in --work.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.common.results_store import StoredResults, put_between_marks
from benchmarks.studies.rhythm import (
    PROPOSED,
    TRIAL_EPOCHS,
    arguments,
    chosen_of,
    parsed,
    rows_of,
    stamp,
    study_of,
    validation_row,
)
from benchmarks.studies.rhythm_cv import RhythmRecipe
from benchmarks.studies.rhythm_tables import MAIN, choice_table, named

WHOLE = "whole"
SWITCHES: dict[str, dict[str, Any]] = {
    WHOLE: {},
    "residual path off": {"residual": False},
    "temporal attention off (plain SE)": {"temporal_attention": False},
    "squeeze-and-excitation off": {"se": False},
    "time gate off": {"time_gate": False},
    "all of TemporalSE off": {"se": False, "time_gate": False},
    "one direction": {"bidirectional": False},
    "linear stem": {"stem": "linear"},
    "plain stem at 125 steps and three blocks": {"stem": "conv", "stride": 8, "depth": 3},
}
RECIPES: dict[str, RhythmRecipe] = {
    name: replace(
        PROPOSED,
        model="reslstm_temporalse",
        epochs=TRIAL_EPOCHS,
        switches=tuple(switches.items()),
    )
    for name, switches in SWITCHES.items()
}


def difference_table(rows: Mapping[str, Any]) -> list[str]:
    """Each variant minus the whole network on the same fold: mean and range over the folds."""
    if WHOLE not in rows:
        return []
    lines = [
        "Macro-AUROC minus that of the whole network on the same fold: mean (lowest to highest).",
        "",
        f"| switched | {' | '.join(MAIN)} |",
        f"| --- | {'--- | ' * len(MAIN)}",
    ]
    for name, row in rows.items():
        if name != WHOLE:
            cells = [_change(row, rows[WHOLE], source) for source in MAIN]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return [*lines, ""]


def _change(row: Mapping[str, Any], whole: Mapping[str, Any], source: str) -> str:
    reference = {fold["fold"]: fold for fold in whole["folds"]}
    pairs = [
        (fold["sources"].get(source), reference[fold["fold"]]["sources"].get(source))
        for fold in row["folds"]
        if fold["fold"] in reference
    ]
    values = [
        one["macro_auroc"] - other["macro_auroc"]
        for one, other in pairs
        if one and other and None not in (one["macro_auroc"], other["macro_auroc"])
    ]
    if not values:
        return "n/a"
    return f"{np.mean(values):+.3f} ({min(values):+.3f} to {max(values):+.3f})"


def main() -> None:
    """Train the folds that are not stored yet, and write the tables."""
    options = parsed(arguments(__doc__, "ablation"))
    study, cohort = study_of(options)
    folds = [int(k) for k in options.folds.split(",")]
    recipes = chosen_of(RECIPES, options)
    study.train(recipes, folds)
    file = StoredResults(options.json, stamp(study, cohort, "studies.ablation"))
    rows_of(
        file.content["results"],
        "ablation",
        lambda recipe: validation_row(study, cohort, recipe, folds),
        recipes,
    )
    file.write()
    text = [
        *choice_table(file.content, "ablation", "What each part of ResLSTM-TemporalSE is worth"),
        *difference_table(named(file.content, "ablation")),
        f"Made by `{file.content['command']}` on {file.content['machine']}.",
    ]
    print("\n".join(text))
    put_between_marks(options.results, "ablation", "\n".join(text))


if __name__ == "__main__":
    main()
