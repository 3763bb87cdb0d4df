"""A finished training comes back from its checkpoint as it was, and its tables are written once."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from support.history_rows import round_row
from support.measures import predictions

from fl.ecg.tasks import RHYTHM
from fl.evaluation.predictions import Predictions, read_predictions
from fl.runs.history_tables import SiteRow, read_rounds, read_sites
from fl.runs.results import TrainingSummary
from fl.util.errors import DataError
from server.rounds.training_results import TrainingResult, load_result, save_result, write_tables

ROUND = round_row(failures=1, train_loss=0.25)
SITE = SiteRow(
    strategy="fedavg",
    round=1,
    site="site-1",
    split="val",
    n_records=3,
    loss=0.125,
    macro_f1=None,
    macro_auroc=None,
)
SUMMARY = TrainingSummary(
    central=None,
    unseen=None,
    central_by_source={},
    sites={"site-1": None},
    thresholds={"pooled": {"AF": 1 / 3}},
    best_round=1,
    rounds=1,
    gradient_steps=9,
    lr=0.01,
    worst_site=None,
    site_mean=None,
    spread=None,
)


NO_PREDICTIONS = Predictions.joined([], RHYTHM.classes)


def result(predicted=NO_PREDICTIONS, name="fedavg"):
    return TrainingResult(
        name=name,
        summary=SUMMARY,
        round_rows=[ROUND],
        site_rows=[SITE],
        failures=[{"round": 1, "site": "site-2", "reason": "train: lost"}],
        predictions=predicted,
    )


@given(predictions(RHYTHM.classes))
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_a_finished_training_comes_back_as_it_was(tmp_path_factory, predicted):
    folder, made = tmp_path_factory.mktemp("run"), result(predicted)
    saved = save_result(folder, made)
    for found in (saved, load_result(folder, RHYTHM, "fedavg")):
        assert replace(found, predictions=predicted) == made
        assert found.predictions.to_csv() == predicted.to_csv()


def test_a_training_that_is_not_over_has_no_result(tmp_path):
    assert load_result(tmp_path, RHYTHM, "fedavg") is None


def test_a_result_that_was_damaged_is_named(tmp_path):
    save_result(tmp_path, result())
    path = tmp_path / "checkpoint" / "parts" / "fedavg.csv"
    path.write_text(path.read_text().replace("p_AF", "p_XX"))
    with pytest.raises(DataError, match=r"fedavg\.csv: its columns"):
        load_result(tmp_path, RHYTHM, "fedavg")


def test_the_tables_hold_the_lines_of_every_training(tmp_path):
    write_tables(tmp_path, RHYTHM, [result(), result(name="pooled")])
    assert read_rounds(tmp_path) == [ROUND, ROUND]
    assert read_sites(tmp_path) == [SITE, SITE]
    assert len(read_predictions(tmp_path / "predictions.csv", RHYTHM.classes)) == 0
