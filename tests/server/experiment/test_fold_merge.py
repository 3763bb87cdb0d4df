"""The history of all folds, and the patients whom no model was tested on."""

from dataclasses import replace

import pytest
from support.history_rows import round_row
from support.made_cohorts import made_cohort

from fl.evaluation.predictions import Predictions
from fl.reports.terminal.partition_tables import fold_lines
from fl.runs.history_tables import write_history_tables
from server.experiment.fold_history import merged_rounds
from server.experiment.fold_merge import untested

ROUND = round_row(val_macro_auroc=0.6)


def test_a_round_that_one_fold_stopped_before_is_of_the_others(tmp_path):
    later = [replace(ROUND, val_macro_f1=0.4), replace(ROUND, round=2, failures=1)]
    for name, rows in (("fold-1", [ROUND]), ("fold-2", later)):
        (tmp_path / name).mkdir()
        write_history_tables(tmp_path / name, rows, [])
    first, second = merged_rounds([tmp_path / "fold-1", tmp_path / "fold-2"])
    assert (first.seconds, first.participants, first.val_macro_f1) == (4.0, 6, pytest.approx(0.3))
    assert first.val_loss is None
    assert (second.round, second.participants, second.failures) == (2, 3, 1)


def test_patients_without_a_test_result_are_counted_and_shown():
    cohort = made_cohort([f"P{i}" for i in range(5)])
    held = zip(cohort.names.tolist(), cohort.patients.tolist(), "aabbc", strict=True)
    rows = [["s", record, patient, site, "test", ""] for record, patient, site in held]
    rows += [["s", "R9", "P9", "central", "test", ""]]
    tested = [("fedavg", "a", [0, 1]), ("fedavg", "b", [2, 3]), ("fedavg", "c", [4])]
    tested += [("local", "a", [0, 1]), ("local", "b", [3])]
    parts = []
    for strategy, site, chosen in tested:
        part = cohort.take(chosen)
        p = part.labels.astype(float)
        parts.append(
            Predictions.of_cohort(part, p, p > 1, strategy=strategy, site=site, split="test")
        )
    predictions = Predictions.joined(parts, cohort.task.classes)
    found = untested([["header"], *rows], predictions, ("local", "fedavg"))
    assert found == {"local": {"b": 1, "c": 1}}
    shown = fold_lines({"site_folds": 2, "smaller_than_folds": {"c": 1}, "untested": found})
    assert "Fewer patients than folds: c has 1;" in shown
    assert "local tested all but these patients: 1 of b, 1 of c." in shown
