"""The study of recipes reads validation of what each training chose, and says what it left out."""

import json

import pytest
from support.history_rows import round_row

from benchmarks.studies import recipe
from benchmarks.studies.recipe import BASELINE, Validated, made, paired, table, validated
from fl.config.config_file import load_config
from fl.runs.history_tables import write_history_tables
from fl.runs.results import RunSummary, TrainingSummary, write_summary
from fl.util.errors import ConfigError


def training(best_round, **chosen):
    """A training without a test."""
    none = dict.fromkeys(("central", "unseen", "thresholds", "worst_site", "site_mean", "spread"))
    return TrainingSummary(**none, sites={}, best_round=best_round, **chosen)


def run_folder(folder, **averaged):
    """A finished run of two rounds, with the mean of both."""
    strategies = {
        "local": training(None, rounds=2),
        "pooled": training(1),
        "fedavg": training(2, **averaged),
    }
    classes = ("AF",)
    write_summary(
        folder,
        RunSummary(task="rhythm", synthetic=True, classes=classes, strategies=strategies),
    )
    rows = [
        round_row(strategy=name, round=number, averaged=mean, val_macro_auroc=auroc)
        for name, number, mean, auroc in (
            ("local", 1, 0, 0.4),
            ("local", 2, 0, 0.3),
            ("pooled", 1, 0, 0.7),
            ("pooled", 2, 0, 0.6),
            ("fedavg", 1, 0, 0.5),
            ("fedavg", 2, 0, 0.8),
            ("fedavg", 2, 2, 0.9),
        )
    ]
    write_history_tables(folder, rows, [])
    return folder


@pytest.mark.parametrize(("chosen", "auroc"), [({}, 0.8), ({"averaged": 2}, 0.9)])
def test_the_line_of_the_chosen_weights_is_read(tmp_path, chosen, auroc):
    found = validated(run_folder(tmp_path, **chosen))
    assert found["federated"].measures["val_macro_auroc"] == auroc
    assert found["pooled"].measures["val_macro_auroc"] == 0.7
    assert found["local"].measures["val_macro_auroc"] == 0.3  # its last round
    assert (found["federated"].seconds, found["pooled"].seconds) == (6.0, 4.0)


def test_a_finished_run_is_read_and_one_with_other_settings_is_refused(tmp_path):
    folder = run_folder(tmp_path)
    given = {"clients": "8", "lr": "0.002"}
    record = {"status": "completed", "config": load_config(given).model_dump(mode="json")}
    (folder / "run.json").write_text(json.dumps(record))
    assert made(folder, given) == validated(folder)
    with pytest.raises(ConfigError, match=r"lr is 0\.002, not 0\.1\. Name"):
        made(folder, given | {"lr": "0.1"})


def outcome(auroc, seconds=10.0):
    measures = {"val_macro_auroc": auroc, "val_macro_f1": None}
    return {"federated": Validated(measures=measures, seconds=seconds)}


def test_differences_are_paired_by_seed():
    results = {
        BASELINE: {1: outcome(0.5), 2: outcome(0.9), 3: outcome(0.7)},
        "mixup": {1: outcome(0.6, 20.0), 2: outcome(1.0, 20.0)},
    }
    _, _, baseline, mixup = table("federated", results)
    assert baseline == "| as it is | 3 | 0.700 |  | n/a |  | 1.00 |"
    # The same difference at both seeds, though the seeds differ by far more.
    assert mixup == "| mixup | 2 | 0.800 | +0.100 [+0.100, +0.100] | n/a | n/a | 2.00 |"


def test_an_interval_needs_two_seeds_and_is_students():
    assert paired([]) == "n/a"
    assert paired([0.25]) == "+0.250"
    # Two seeds: 12.706 standard errors of .01.
    assert paired([0.01, 0.03]) == "+0.020 [-0.107, +0.147]"


def test_an_option_that_is_not_known_is_skipped_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(recipe, "ideas", lambda base: {BASELINE: {}, "x": {"new_option": "rr"}})
    monkeypatch.setattr(recipe, "made", lambda folder, settings: outcome(0.5))
    results = tmp_path / "results.md"
    recipe.main(["--work", str(tmp_path), "--seeds", "1", "--results", str(results)])
    assert "x, seed 1 is skipped: new_option is no setting." in capsys.readouterr().out
    assert "- x, seed 1: new_option is no setting." in results.read_text()
