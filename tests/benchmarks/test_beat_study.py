"""The beat study: splits without shared patients, stored results, and tables."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.common.results_store import StoredResults, put_between_marks
from benchmarks.studies import beat
from benchmarks.studies.beat_tables import RICH, cv_tables, ds2_tables
from fl.data.cohort import Cohort
from fl.data.example_cache import prepare
from fl.datasets.mitdb import DS1, DS2, MITDB
from fl.ecg.records import Annotations, Record
from fl.ecg.tasks import BEAT

DOCS = Path(__file__).parents[2] / "docs"


def run(right=90, wrong=10):
    """Two records of N and S beats, one of them 232."""
    record = np.zeros((5, 5), dtype=int)
    record[0, 0], record[1, 1], record[1, 0] = 100, right, wrong
    other = np.zeros((5, 5), dtype=int)
    other[0, 0], other[1, 0] = 100, 10
    return {"232": record.tolist(), "100": other.tolist()}


def content(**results):
    return {
        "results": results,
        "machine": "here",
        "torch": "2",
        "command": "python -m benchmarks.studies.beat",
        "details": {"data": "0123456789abcdef"},
    }


def test_the_folds_hold_every_record_of_ds1_once_and_none_of_ds2():
    records = [name for fold in beat.FOLDS for name in fold]
    assert sorted(records) == sorted(DS1)


def test_the_tables_go_between_their_marks_and_leave_the_rest(tmp_path):
    path = tmp_path / "docs" / "results.md"
    put_between_marks(path, "beat", "one")
    path.write_text(path.read_text() + "\n<!-- rhythm -->\nother\n<!-- /rhythm -->\n")
    put_between_marks(path, "beat", "two")
    text = path.read_text()
    assert "<!-- beat -->\ntwo\n<!-- /beat -->" in text
    assert "other" in text
    assert "one" not in text


def test_s_is_reported_with_and_without_record_232():
    lines = ds2_tables(content(**{"ds2/standard/0": run(), "ds2/standard/1": run(70, 30)}))
    rows = {line.split("|")[1].strip(): line for line in lines if line.startswith("| S")}
    assert "| 0.727" in rows["S"]  # (90 + 70) / 2 of 110
    assert "| 10 | 0.000" in rows["S without 232"]


def test_the_leaking_protocol_is_marked_and_its_gap_is_reported():
    lines = ds2_tables(content(**{"ds2/standard/0": run(50, 50), "ds2/intra/0": run()}))
    assert any("LEAKS" in line for line in lines)
    assert any(line.startswith("The gap in macro-F1") for line in lines)


def test_a_detectors_own_sensitivity_is_reported():
    results = {"ds2/standard/0": run(), "detector/xqrs": {"100": [100, 95, 90]}}
    assert any("sensitivity 0.9000, +P 0.9474" in line for line in ds2_tables(content(**results)))


def test_cross_validation_counts_each_recipes_trainings():
    lines = cv_tables(content(**{"cv/as proposed/0": run(), "cv/as proposed/1": run()}))
    assert lines[-1].startswith("| as proposed | ")
    assert lines[-1].endswith("| 2 |")


def test_bursts_rich_in_s_have_their_own_column_and_are_in_no_other():
    plain, rich = run(), run() | {f"209{RICH}": np.diag([0, 30, 0, 0, 0]).tolist()}
    rich[f"209{RICH}"][1][0] = 10
    rows = [
        cv_tables(content(**{"cv/as proposed/0": one}))[-1].split("|")[1:-1]
        for one in (plain, rich)
    ]
    assert rows[0][:6] == rows[1][:6]
    assert rows[0][6].strip() == "n/a (n/a, n/a)"
    assert rows[1][6].strip() == "0.857 (0.750, 1.000)"


def test_a_burst_rich_in_s_is_cut_as_if_it_were_the_recording(monkeypatch):
    """Of beats 15 to 38 most are S; their features do not depend on the other beats."""
    symbols = np.array(["N"] * 60)
    symbols[20:34] = "A"
    places = 360 + 300 * np.arange(60) - 100 * (symbols == "A")
    record = Record(
        source="mitdb",
        name="100",
        patient="100",
        signal=np.random.default_rng(0).normal(size=(1, 360 + 300 * 61)).astype(np.float32),
        leads=("II",),
        fs=360.0,
        labels=None,
        annotations=Annotations(samples=places, symbols=tuple(symbols), rhythms=("",) * 60),
    )
    monkeypatch.setattr(beat, "DS1", ("100",))
    monkeypatch.setattr(beat, "MITDB", SimpleNamespace(read=lambda data, name: record))
    burst = beat.stretches_of_s(Path())
    in_the_recording = BEAT.make_examples(record).features[15:39]
    assert burst.labels.argmax(axis=1).tolist() == [0] * 5 + [1] * 14 + [0] * 5
    assert burst.column("recordings").tolist() == ["100"] * 24
    assert not np.allclose(burst.column("features"), in_the_recording, atol=0.1)


def test_stored_results_are_not_made_again_unless_settings_change(tmp_path):
    path, calls = tmp_path / "results.json", []

    def make():
        calls.append(1)
        return {"a": 1}

    for settings, times in (("one", 1), ("one", 1), ("two", 2)):
        assert StoredResults(path, {"settings": settings}).get_or_make("x", make) == {"a": 1}
        assert len(calls) == times
    assert json.loads(path.read_text())["results"] == {"x": {"a": 1}}


def test_the_stored_results_are_of_the_present_settings():
    """A renamed field would make the command train everything again."""
    stored = json.loads((DOCS / "results-beat.json").read_text())
    settings = beat.settings_of(stored["details"]["data"])
    assert stored["details"] == json.loads(json.dumps(settings))
    assert stored["settings"] == beat.digest_of(settings)


def test_a_recipe_without_signal_has_no_weights_for_the_signal(beats):
    some = beat.as_in(beat.BeatRecipe(signal=False, epochs=1), beats.take(np.arange(60)))
    network = beat.train(some, np.arange(60), beat.BeatRecipe(signal=False, epochs=1), 0, "cpu")
    width = network.feature_branch.width
    assert not network.head.weight[:, :-width].any()
    assert network.head.weight[:, -width:].any()


def test_a_recipe_shows_only_its_features(beats):
    shown = beat.as_in(beat.BeatRecipe(features=beat.RATIOS), beats.take(np.arange(60)))
    kept = np.isin(beat.FEATURES, beat.RATIOS)
    features = shown.column("features")
    assert not features[:, ~kept].any()
    assert features[:, kept].any()


@pytest.mark.real
def test_only_the_splits_that_say_so_share_patients(real_data, cache_dir):
    cohort = Cohort.open(BEAT, [prepare(MITDB, real_data, BEAT, cache_dir, workers=2)])
    records, patients = cohort.column("recordings"), cohort.patients
    shared = {}
    for name, split in beat.SPLITS.items():
        trained, tested = split(cohort, 0)
        assert not set(trained.tolist()) & set(tested.tolist())
        if name != "intra":
            assert set(records[tested].tolist()) == set(DS2)
        shared[name] = set(patients[trained].tolist()) & set(patients[tested].tolist())
    assert shared["standard"] == {"mitdb:201"}
    assert shared["strict"] == set()
    assert len(shared["intra"]) == 43
