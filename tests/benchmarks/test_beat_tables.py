"""The beat study: its measures, its tables and the results that are stored."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.common.results_store import StoredResults, put_between_marks
from benchmarks.studies.beat import __main__ as study
from benchmarks.studies.beat import on_ds2
from benchmarks.studies.beat.choose_tables import choose_tables
from benchmarks.studies.beat.ds2_tables import ds2_tables
from benchmarks.studies.beat.measures import (
    as_text,
    counts_of,
    from_text,
    measured_on_peaks,
)
from benchmarks.studies.beat.recipes import PROPOSED, RECIPES
from benchmarks.studies.beat.recordings import (
    Detected,
    DetectedRecord,
)

DOCS = Path(__file__).parents[2] / "docs"


def test_missed_and_false_beats_are_counted_and_fibrillation_is_left_out():
    one = DetectedRecord(
        key="mitdb/207",
        annotated=np.array([100, 200, 300, 900]),
        truth=np.array([0, 1, 0, 0]),
        detected=np.array([100, 201, 450, 700, 900]),
        fs=100.0,
        fibrillation=((600, 1000),),
    )
    second = replace(one, key="mitdb/208", fibrillation=())
    found = measured_on_peaks(Detected((one, second), None), np.array([0, 1, 2, 0, 0] + [0] * 5))
    first, other = counts_of(found)
    assert (first[0, 0], first[1, 1], first[0, 5], first[5, 2]) == (1, 1, 1, 1)
    assert first.sum() == 4
    assert (other[0, 0], other[1, 0], other[0, 5], other[5, 0]) == (2, 1, 1, 2)
    assert found["left_out"] == [1, 2]


def test_a_matrix_is_the_same_after_it_was_stored_as_text(rng):
    counts = rng.poisson(0.7, size=(6, 6))
    np.testing.assert_array_equal(from_text(as_text(counts), 6), counts)
    assert as_text(np.diag([3, 0, 2])) == "NN 3 VV 2"


def run(right=90, wrong=10, size=5):
    """Two records of N and S beats, one of them 232."""
    record = np.zeros((size, size), dtype=int)
    record[0, 0], record[1, 1], record[1, 0] = 100, right, wrong
    other = np.zeros((size, size), dtype=int)
    other[0, 0], other[1, 0] = 100, 10
    other[4, 1] = 5  # Q called S
    ap = {"all": {"S": [0.8, 0.7, 0.9], "V": None}, "without 232": {"S": [0.5], "V": None}}
    return {"records": {"mitdb/232": as_text(record), "mitdb/100": as_text(other)}, "ap": ap}


def content(**results):
    details = {"data": "0123456789abcdef"}
    return {"results": results, "machine": "here", "torch": "2", "details": details}


def cells_of(lines, label, place=0):
    """The cells of the lines that begin with a label."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return [row for row in rows if row and row[0] == label][place]


def test_s_is_reported_with_and_without_record_232_and_over_seeds():
    both = {"ds2/strict/10": {"annotated": run()}, "ds2/strict/11": {"annotated": run(70, 30)}}
    lines = ds2_tables(content(**both))
    s = cells_of(lines, "S")
    assert s[2].startswith("0.727")  # (90 + 70) / 2 of 110
    assert s[5].startswith("0.800 (0.700 to 0.900)")
    f1s = [2 * right / (110 + right + 5) for right in (90, 70)]
    assert s[6] == ", ".join(f"{f1:.3f}" for f1 in f1s)
    assert s[7] == f"{np.std(f1s, ddof=1):.3f}"
    assert cells_of(lines, "S without 232")[1:3] == ["10", "0.000"]


def test_folds_of_a_seed_are_one_seed():
    found = {
        f"runs/fedavg/seed-{seed} fold-{fold}": {"annotated": run(60 + 10 * fold, 40 - 10 * fold)}
        for seed in (10, 11)
        for fold in (1, 2)
    }
    s = cells_of(ds2_tables(content(**found)), "S")
    assert len(s[6].split(", ")) == 2
    assert s[7] == "0.000"  # both seeds have the same mean over their folds


def test_bxbs_way_of_counting_stands_beside_ours_for_detected_beats():
    found = run(size=6) | {"left_out": [3, 4]}
    found["records"]["mitdb/232"] += " So 20"  # S beats that were missed
    found["records"]["mitdb/100"] += " oN 7"  # false beats
    lines = ds2_tables(content(**{"ds2/strict/10": {"annotated": run(), "xqrs": found}}))
    assert cells_of(lines, "S", place=1)[3].startswith(f"{90 / 95:.3f}")
    assert cells_of(lines, "S, bxb")[3].startswith("1.000")
    (quality,) = (line for line in lines if line.startswith("Detection: "))
    assert "20 beats missed, 7 found that are none" in quality
    assert "3 annotated beats and 4 detections" in quality


def test_the_leaking_protocol_is_marked_and_its_gap_is_reported():
    runs = {"ds2/strict/10": {"annotated": run(50, 50)}, "ds2/intra/10": {"annotated": run()}}
    lines = ds2_tables(content(**runs))
    assert any("LEAKS" in line for line in lines)
    assert any(line.startswith("Macro-F1 of the leaking protocol minus") for line in lines)


def test_the_comparison_has_a_row_for_each_recipe_with_and_without_209_and_203():
    records = {f"mitdb/{n}": run()["records"]["mitdb/232"] for n in ("101", "203")}
    records["mitdb/209"] = run(10, 90)["records"]["mitdb/232"]
    ap = {"mitdb": {"S": [0.75], "V": None}}
    rows = {
        f"choose/as proposed/{s}": {"annotated": {"records": records, "ap": ap}} for s in (0, 1)
    }
    cells = cells_of(choose_tables(content(**rows)), "as proposed")
    f1s = [2 * right / (beats + right) for right, beats in ((190, 300), (180, 200), (100, 200))]
    assert cells[1:4] == ["0.750", "n/a", f"{f1s[0]:.3f}"]
    assert cells[6:] == [f"{f1s[1]:.3f}", f"{f1s[2]:.3f}", "0.000", "2"]


def test_records_that_could_not_be_used_are_named():
    unusable = {"left out/ds2": {"svdb": {"bad-header": ["804", "811"]}}}
    lines = ds2_tables(content(**{"ds2/strict/10": {"annotated": run()}}, **unusable))
    assert any("svdb that could not be used (bad-header): 804, 811." in line for line in lines)


def test_the_tables_go_between_their_marks_and_leave_the_rest(tmp_path):
    path = tmp_path / "docs" / "results.md"
    put_between_marks(path, "beat", "one")
    path.write_text(path.read_text() + "\n<!-- rhythm -->\nother\n<!-- /rhythm -->\n")
    put_between_marks(path, "beat", "two")
    text = path.read_text()
    assert "<!-- beat -->\ntwo\n<!-- /beat -->" in text
    assert "other" in text
    assert "one" not in text


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
    settings = study.settings_of(stored["details"]["data"])
    assert stored["details"] == json.loads(json.dumps(settings))
    assert stored["settings"] == study.digest_of(settings)
    for key, value in stored["results"].items():
        kind, *name = key.split("/")
        if kind in ("choose", "leave one out"):
            assert value["of"] == RECIPES[name[0]].digest, key


def test_the_frozen_recipe_is_the_proposed_one():
    assert RECIPES["as proposed"] == PROPOSED == on_ds2.PROTOCOLS["strict"]
