"""The command's summary of a recording with a known pause and a part that is only noise."""

import csv
import io
import json
from itertools import groupby

import numpy as np
import pytest
from support import made_runs
from support.beat_recordings import recording
from support.made_ecg import noise

from fl.datasets.readers import wfdb_access
from fl.ecg.beat_segments import annotated_beats
from fl.ecg.labels import BEAT_CLASSES as CLASSES
from fl.evaluation.ec57 import compare_beats, detection
from fl.predict.__main__ import main
from fl.predict.holter_summary import summarise
from fl.predict.holter_tables import summary_lines
from fl.predict.inference import predict_recording
from fl.predict.input_files import read_record
from fl.predict.saved_model import load_model
from fl.reports.card import write_cards
from fl.reports.run_files import read_run

FS = 360
NOISE = (80, 110)  # s


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The weights of a beat model."""
    out = tmp_path_factory.mktemp("runs")
    write_cards(read_run(made_runs.make(out, "beat")))
    return out / "beat" / "weights" / "fedavg-best.safetensors"


@pytest.fixture(scope="module")
def holter(tmp_path_factory):
    """A record of 150 s, a beat a second: none from 50.5 to 52.5 s, and noise from 80 to 110 s."""
    made = recording(seconds=150.0, early=(20, 40, 60, 63, 66, 69), fs=float(FS))
    signal = made.signal[0].copy()
    still = slice(round(50.5 * FS), round(52.5 * FS))
    signal[still] = np.random.default_rng(1).normal(0, 0.003, still.stop - still.start)
    signal[NOISE[0] * FS : NOISE[1] * FS] = noise("white", seconds=NOISE[1] - NOISE[0], fs=FS)[0]
    times = made.annotations.samples / FS
    kept = ~((times > 50.5) & (times < 52.5)) & ~((times > NOISE[0] + 2) & (times < NOISE[1] - 2))
    folder = tmp_path_factory.mktemp("holter")
    wfdb_access.call(
        "wrsamp",
        "h1",
        fs=FS,
        units=["mV"],
        sig_name=["MLII"],
        p_signal=signal[:, None].astype(float),
        fmt=["16"],
        write_dir=str(folder),
    )
    samples = made.annotations.samples[kept]
    wfdb_access.call(
        "wrann", "h1", "atr", samples, symbol=["N"] * len(samples), write_dir=str(folder)
    )
    return str(folder / "h1")


def printed(weights, holter, capsys, *more):
    assert main(["--weights", str(weights), *more, holter]) == 0
    return capsys.readouterr().out


def test_json_has_the_pause_and_what_cannot_be_said(weights, holter, capsys):
    (record,) = json.loads(printed(weights, holter, capsys, "--json"))["records"]
    total = record["summary"]["total"]
    assert [hour["end"] for hour in record["summary"]["hours"]] == ["0:02:30"]
    # The gap in the annotations from 82 to 108 s is longer, and is no pause: it is noise.
    assert total["pauses"] == 1
    assert total["longest_interval"] == {"seconds": pytest.approx(3.0, abs=0.01), "at": "0:00:50"}
    assert total["cannot_say"] == pytest.approx((NOISE[1] - NOISE[0]) / 150)
    refused = [f for f in record["findings"] if f["cannot_say"]]
    assert total["beats_not_answered"] == len(refused) > 0
    assert total["beats"] == len(record["findings"]) - len(refused)
    assert total["lowest_rate"] < total["mean_rate"] < total["highest_rate"]


def test_s_and_v_are_counted_as_they_are_predicted(weights, holter, capsys):
    (record,) = json.loads(printed(weights, holter, capsys, "--json"))["records"]
    predicted = ["".join(f["predicted"]) for f in record["findings"]]
    for name in "SV":
        found = record["summary"]["total"]["ectopy"][name]
        rows = [len(list(row)) for c, row in groupby(predicted) if c == name]
        assert found["beats"] == predicted.count(name) == sum(rows)
        assert found["single"] == rows.count(1)
        assert found["runs"] == sum(n >= 3 for n in rows)


def test_the_text_ends_with_the_summary(weights, holter, capsys):
    text = printed(weights, holter, capsys)
    summary = text.split("\n\n")[1].splitlines()
    assert summary[0].endswith("h1: beats found by annotations; times from the start, h:mm:ss")
    assert summary[1].split()[:3] == ["from", "to", "beats"]
    assert summary[2].split()[:2] == ["0:00:00", "0:02:30"]
    assert "3.00 s at 0:00:50" in summary[2]
    assert "20.0%" in summary[2]
    assert summary[3].endswith("h1: S beats")  # one hour needs no line in all
    assert [line.split()[-2:] for line in summary if line.endswith(" beats")] == [
        ["S", "beats"],
        ["V", "beats"],
    ]
    assert [len(summary[i]) for i in (1, 4, 7)] == [len(summary[i]) for i in (2, 5, 8)]


def test_a_long_recording_has_a_line_per_hour_and_one_in_all():
    peaks = np.arange(0, 7000 * FS, FS)
    classes = ["V" if i % 50 < 4 else "N" for i in range(7000)]
    made = summarise(peaks, classes, np.ones(7000, dtype=bool), [], 7000 * FS, float(FS))
    lines = summary_lines("h2", "xqrs", made)
    assert [line.split()[:2] for line in lines[2:5]] == [
        ["0:00:00", "1:00:00"],
        ["1:00:00", "1:56:40"],
        ["in", "all"],
    ]
    assert lines[-1].split()[2:] == [
        *("1:56:40", "560", "(8.0%)", "0", "0", "140"),
        *("4", "beats,", "60/min", "at", "0:00:00", "0"),
    ]


def test_a_detector_finds_the_same_pause(weights, holter, capsys):
    out = printed(weights, holter, capsys, "--json", "--detector", "xqrs")
    (record,) = json.loads(out)["records"]
    assert record["beats"] == "xqrs"
    total = record["summary"]["total"]
    assert (total["pauses"], total["longest_interval"]["at"]) == (1, "0:00:50")
    assert total["longest_interval"]["seconds"] == pytest.approx(3.0, abs=0.05)


def test_csv_holds_the_beats_alone(weights, holter, capsys):
    rows = list(csv.DictReader(io.StringIO(printed(weights, holter, capsys, "--csv"))))
    assert {row["record"] for row in rows} == {holter}
    assert all(row["peak"] for row in rows)


def test_detected_beats_of_an_annotated_record_can_be_compared_with_its_annotations(
    weights, holter
):
    model, record = load_model(weights), read_record(holter, None, "mV")
    result = predict_recording(
        model, record, holter, source="pooled", windows=False, detector="xqrs"
    )
    detected = np.array([f.peak for f in result.findings])
    called = np.array(
        [max(range(5), key=lambda i, f=f: f.p[CLASSES[i]] or 0) for f in result.findings]
    )
    annotated, _ = annotated_beats(record.annotations)
    counts = compare_beats(
        annotated, np.zeros(len(annotated), dtype=np.int64), detected, called, record.fs
    ).counts
    assert counts.sum() == len(annotated) + counts[5].sum()
    assert detection(counts)["se"] > 0.9
    assert counts[5].sum() > 0  # of the noise, in which nothing is annotated
