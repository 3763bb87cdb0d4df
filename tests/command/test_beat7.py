"""Beats as pictures through a whole federation, and its model applied to recordings."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from support.recomputed import table

import run_sim
from fl.datasets.readers import wfdb_access
from fl.datasets.synthetic import SYNTHETIC_HOLTER, with_seven_beats
from fl.ecg.beat_pictures import BEAT7_CLASSES
from fl.explain.__main__ import main as explain_main
from fl.predict.__main__ import main
from fl.predict.inference import WITHOUT_NEIGHBOUR

FLAGS = [
    *("--task", "beat7", "--data", "synthetic", "--synthetic-records", "60", "--clients", "2"),
    *("--rounds", "1", "--per-recording", "2", "--workers", "1", "--engine", "local", "--quiet"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run with pages."""
    out = tmp_path_factory.mktemp("runs")
    assert run_sim.main([*FLAGS, "--out", str(out), "--name", "run"]) == 0
    return out / "run"


def test_a_run_has_a_model_of_seven_classes_and_pages(run):
    facts = json.loads((run / "run.json").read_text())
    assert (facts["config"]["model"], facts["config"]["augment"]) == ("cnn2d", "crops")
    rows = table(run / "predictions.csv")
    assert rows
    p = np.array([[float(row[f"p_{c}"]) for c in BEAT7_CLASSES] for row in rows])
    decided = np.array([[row[f"d_{c}"] for c in BEAT7_CLASSES] for row in rows]) == "1"
    assert np.isfinite(p).all()
    assert (decided.sum(axis=1) == 1).all()
    summary = json.loads((run / "summary.json").read_text())
    central = summary["strategies"]["fedavg"]["central"]["classes"]
    assert list(central) == list(BEAT7_CLASSES)
    for page in ("index.html", "sites/site-1.html"):
        assert "<svg" in (run / "report" / page).read_text()


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A paced recording in WFDB form: its path and its R peaks."""
    folder = tmp_path_factory.mktemp("record")
    cohort = with_seven_beats(SYNTHETIC_HOLTER)
    names = iter(cohort.record_names(Path()))
    made = next(r for r in (cohort.read(Path(), n) for n in names) if "/" in r.annotations.symbols)
    kept = [i for i, s in enumerate(made.annotations.symbols) if s == "/"]
    peaks = made.annotations.samples[kept]
    wfdb_access.call(
        "wrsamp",
        "p1",
        fs=made.fs,
        units=["mV"] * 2,
        sig_name=["MLII", "V1"],
        p_signal=made.signal.T.astype(float),
        fmt=["16"] * 2,
        write_dir=str(folder),
    )
    wfdb_access.call("wrann", "p1", "atr", peaks, symbol=["/"] * len(peaks), write_dir=str(folder))
    return str(folder / "p1"), peaks.tolist()


def predicted(run, record, capsys, *more):
    weights = run / "weights" / "fedavg-best.safetensors"
    assert main(["--weights", str(weights), *more, record[0]]) == 0
    return capsys.readouterr().out


def test_annotated_beats_are_answered_but_the_first_and_the_last(run, record, capsys):
    (result,) = json.loads(predicted(run, record, capsys, "--json"))["records"]
    findings = result["findings"]
    assert [finding["peak"] for finding in findings] == record[1]
    without = [i for i, f in enumerate(findings) if f["cannot_say"] == WITHOUT_NEIGHBOUR]
    assert without == [0, len(findings) - 1]
    for finding in findings[1:-1]:
        assert list(finding["p"]) == list(BEAT7_CLASSES)
        assert len(finding["predicted"]) == 1
        assert finding["start"] < finding["peak"] < finding["end"]
    total = result["summary"]["total"]
    assert total["beats"] == len(findings) - 2
    assert total["beats_not_answered"] == 2
    named = [f["predicted"][0] for f in findings[1:-1]]
    assert total["ectopy"]["S"]["beats"] == named.count("A")
    assert total["ectopy"]["V"]["beats"] == named.count("V") + named.count("E")


def test_csv_and_text_have_a_column_for_each_class(run, record, capsys):
    rows = list(csv.DictReader(io.StringIO(predicted(run, record, capsys, "--csv"))))
    assert len(rows) == len(record[1])
    assert all(rows[1][f"p_{c}"] for c in BEAT7_CLASSES)
    assert rows[0]["cannot_say"] == WITHOUT_NEIGHBOUR
    text = predicted(run, record, capsys)
    assert all(f" {c} " in text for c in "NLRAV/")
    assert "V beats" in text


def test_detected_beats_are_answered_too(run, record, capsys):
    (result,) = json.loads(predicted(run, record, capsys, "--json", "--detector", "xqrs"))[
        "records"
    ]
    assert result["beats"] == "xqrs"
    assert len(result["findings"]) > 3


def test_a_beat_is_explained_where_it_is(run, record, tmp_path, capsys):
    weights = run / "weights" / "fedavg-best.safetensors"
    path, peaks = record
    flags = [path, "--weights", str(weights), "--out", str(tmp_path), "--json"]
    assert explain_main([*flags, "--beat", str(peaks[3]), "--class", "/"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    found = answer["explanation"]
    assert answer["peak"] == peaks[3]
    assert found["method"] == "occlusion"
    fs = 360.0
    begins, ends = ((peaks[i] + peaks[i + 1]) / 2 / fs for i in (2, 3))
    assert found["begins"] == answer["start"] == pytest.approx(begins, abs=1 / fs)
    assert found["begins"] + 512 / found["fs"] == pytest.approx(ends, abs=1 / fs)
