"""What a signal or its leads cannot show is not answered, and the reason is given."""

import csv
import io
import json
import time

import numpy as np
import pytest
from support import made_runs
from support.made_ecg import FS, heartbeats, noise, tone

from fl.ecg.records import LEADS, Record
from fl.predict.__main__ import main
from fl.predict.answerable import (
    acceptability_by_part,
    acceptability_of,
    of_beats,
    unanswerable_classes,
    without_signal,
)
from fl.reports.card import write_cards
from fl.reports.run_files import read_run
from fl.util.errors import UnusableRecord
from heartfed import load_model, predict


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The weights of a rhythm model."""
    out = tmp_path_factory.mktemp("runs")
    write_cards(read_run(made_runs.make(out, "rhythm")))
    return out / "rhythm" / "weights" / "fedavg-best.safetensors"


@pytest.fixture
def table(tmp_path):
    """Writes a signal as a CSV file and returns its path."""

    def write(signal, leads):
        with (tmp_path / "x.csv").open("w", newline="") as file:
            csv.writer(file).writerows([leads, *np.asarray(signal).T.tolist()])
        return str(tmp_path / "x.csv")

    return write


def record(signal, leads=("II",), fs=FS):
    return Record(source="", name="x", patient="x", signal=signal, leads=leads, fs=fs, labels=None)


NOT_AN_ECG = {
    "noise": (noise("white"), "no heartbeats stand out of the noise"),
    "tone": (tone(8), "pure tone"),
    "hum": (tone(50) + 0.05 * noise("white"), "mains hum"),
    "flat": (np.zeros((1, 2500)), "no lead has a usable signal (II flat)"),
}


@pytest.mark.parametrize("name", NOT_AN_ECG)
@pytest.mark.parametrize("form", ["text", "csv", "json"])
def test_what_is_no_ecg_is_answered_with_cannot_say(weights, table, capsys, name, form):
    signal, words = NOT_AN_ECG[name]
    command = ["--weights", str(weights), "--fs", f"{FS:g}", table(signal, ["II"])]
    assert main([*command, *([] if form == "text" else [f"--{form}"])]) == 0
    printed = capsys.readouterr().out
    if form == "text":
        assert "cannot say: " in printed
        assert words in printed
    elif form == "csv":
        (row,) = csv.DictReader(io.StringIO(printed))
        assert words in row["cannot_say"]
        assert {row["predicted"], row["p_AF"], row["p_STE"]} == {""}
    else:
        (answer,) = json.loads(printed)["records"]
        assert words in answer["cannot_say"]
        assert all(p is None for f in answer["findings"] for p in f["p"].values())


def test_a_readable_recording_is_answered_with_the_quality_of_its_leads(weights, table, capsys):
    signal = np.vstack([heartbeats(70), noise("white")])
    path = table(signal, ["II", "V1"])
    assert main(["--weights", str(weights), "--fs", f"{FS:g}", "--json", path]) == 0
    (answer,) = json.loads(capsys.readouterr().out)["records"]
    (finding,) = answer["findings"]
    assert (answer["cannot_say"], answer["not_answered"]) == ("", [])
    assert all(0 <= p <= 1 for p in finding["p"].values())
    assert [(q["lead"], q["reason"]) for q in finding["lead_quality"]] == [
        ("II", ""),
        ("V1", "noise"),
    ]


def test_a_file_read_at_a_tenth_of_its_rate_is_not_answered(weights, table, capsys):
    path = table(heartbeats(75, seconds=14, fs=500.0), ["II"])
    assert main(["--weights", str(weights), "--fs", "50", path]) == 0
    assert "the sampling rate is evidently wrong (at 500 Hz" in capsys.readouterr().out


def test_each_window_has_its_own_verdict():
    signal = np.hstack([heartbeats(70, seconds=20), noise("white", seconds=10)])
    ranges = [(start, start + 2500) for start in (0, 2500, 5000)]
    assert [v.reason for v in acceptability_of(record(signal), ranges)] == ["", "", "noise"]


def test_windows_too_short_to_show_it_have_the_wrong_rate_of_the_recording():
    signal = heartbeats(75, seconds=20, fs=500.0)
    ranges = [(start, start + 500) for start in range(0, 10_000, 500)]
    assert {v.reason for v in acceptability_of(record(signal, fs=50.0), ranges)} == {"rate"}


def test_a_beat_has_the_verdict_of_the_10_seconds_around_it():
    signal = np.hstack([heartbeats(70, seconds=20), noise("white", seconds=15)])
    ranges = [(100, 300), (4900, 5000), (5100, 5300), (8600, 8750)]
    verdicts = of_beats(acceptability_by_part(record(signal)), ranges)
    assert [v.reason for v in verdicts] == ["", "", "noise", "noise"]


def test_st_deviation_is_not_answered_from_lead_one_alone():
    assert unanswerable_classes(("I",)) == ("STD", "STE")
    assert unanswerable_classes(("II",)) == unanswerable_classes(LEADS) == ()


def test_classes_that_are_not_answered_have_no_probability(weights, table, capsys):
    path = table(heartbeats(70), ["I"])
    command = ["--weights", str(weights), "--fs", f"{FS:g}", path]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "STD and STE are not answered from lead I alone" in printed.err
    assert printed.out.splitlines()[-1].split()[-2:] == ["-", "-"]
    assert main([*command, "--csv"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["p_STD"], row["p_STE"], row["cannot_say"]) == ("", "", "")
    assert float(row["p_NSR"]) >= 0
    assert not {"STD", "STE"} & set(row["predicted"].split("|"))


def test_from_python_a_flat_line_is_an_answer_too(weights, table):
    answer = predict(load_model(weights), table(np.zeros((1, 2500)), ["II"]), fs=FS)
    assert answer.cannot_say == "no lead has a usable signal (II flat)"


def test_a_single_heartbeat_is_answered_with_the_reason(weights, table):
    answer = predict(load_model(weights), table(heartbeats(75, seconds=0.8, fs=FS), ["II"]), fs=FS)
    assert answer.cannot_say.startswith("it holds single heartbeats, cut out of recordings (the ")
    assert answer.findings == ()


def test_a_recording_that_cannot_be_read_is_still_a_mistake():
    assert without_signal("x", UnusableRecord("x", "too-short", "1 s")) is None
    assert without_signal("x", ValueError("x")) is None


def test_ten_seconds_of_twelve_leads_take_less_than_a_tenth_of_a_second():
    signal = np.vstack([heartbeats(70, seconds=10, fs=500.0, seed=i) for i in range(12)])
    ranges = [(0, signal.shape[1])]
    seconds = []
    for _ in range(5):
        begin = time.process_time()
        acceptability_of(record(signal, LEADS, 500.0), ranges)
        seconds.append(time.process_time() - begin)
    assert min(seconds) < 0.1
