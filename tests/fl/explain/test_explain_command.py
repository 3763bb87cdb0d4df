"""python -m fl.explain: figures and JSON for a recording, and mistakes in one line."""

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from support import made_runs, small_records

from fl.datasets.synthetic import SYNTHETIC_HOLTER
from fl.explain.__main__ import main
from fl.predict.__main__ import main as predict
from fl.reports.build import write_report
from fl.reports.card import write_cards
from fl.reports.run_files import read_run

WEIGHTS = "weights/fedavg-best.safetensors"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    for name in ("rhythm", "beat"):
        write_cards(read_run(made_runs.make(out, name)))
    return out


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A synthetic two-lead recording as a WFDB record with annotated beats."""
    made = SYNTHETIC_HOLTER.read(Path("nowhere"), "S00003")
    folder = tmp_path_factory.mktemp("records")
    stem = small_records.write(
        folder, "holter", leads=("MLII", "V1"), fs=made.fs, signal=made.signal.T.astype(float)
    )
    notes = made.annotations
    beats = [s for s, symbol in zip(notes.samples, notes.symbols, strict=True) if symbol != "+"]
    return stem, beats


def files(folder, suffix):
    return sorted(folder.glob(f"*.{suffix}"))


@pytest.mark.parametrize("method", ["gradients", "occlusion"])
def test_a_recording_gets_a_figure_and_all_numbers(runs, record, tmp_path, capsys, method):
    command = [str(record[0]), "--weights", str(runs / "rhythm" / WEIGHTS), "--class", "AF"]
    assert main([*command, "--method", method, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "not a medical device" in printed.err
    assert "AF" in printed.out
    (svg,), (png,), (numbers,) = (files(tmp_path, s) for s in ("svg", "png", "json"))
    assert svg.stem == png.stem == numbers.stem == f"holter-AF-{method}"
    ET.parse(svg)
    text = svg.read_text()
    assert "#f0a000" in text or "#3c78c8" in text
    assert png.read_bytes().startswith(b"\x89PNG")
    content = json.loads(numbers.read_text())
    assert content["explanation"]["leads"] == ["II", "V1"]
    assert content["explanation"]["target"] == "AF"
    assert 0 <= content["p"] <= 1
    assert content["synthetic"] is True


def test_the_caption_says_what_and_how(runs, record, tmp_path):
    command = [str(record[0]), "--weights", str(runs / "rhythm" / WEIGHTS), "--class", "AF"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    text = files(tmp_path, "svg")[0].read_text()
    for words in ("AF in", "probability", "threshold", "integrated gradients", "medical device"):
        assert words in text
    assert "SYNTHETIC" in text


def test_one_beat_is_explained_with_its_features(runs, record, tmp_path, capsys):
    beat = int(record[1][4])
    command = [str(record[0]), "--weights", str(runs / "beat" / WEIGHTS), "--beat", str(beat + 3)]
    assert main([*command, "--class", "V", "--out", str(tmp_path), "--detector", "xqrs"]) == 0
    (numbers,) = files(tmp_path, "json")
    content = json.loads(numbers.read_text())
    assert abs(content["peak"] - beat) < 30
    assert len(content["explanation"]["features"]) > 40
    assert "Largest features" in files(tmp_path, "svg")[0].read_text()


def test_without_a_class_each_predicted_class_gets_its_clearest_beat(
    runs, record, tmp_path, capsys
):
    command = [str(record[0]), "--weights", str(runs / "beat" / WEIGHTS), "--json"]
    assert main([*command, "--from", "2", "--to", "9", "--out", str(tmp_path)]) == 0
    answers = json.loads(capsys.readouterr().out)
    classes = [answer["explanation"]["target"] for answer in answers]
    assert len(set(classes)) == len(classes) >= 1
    for answer in answers:
        assert answer["predicted"]
        assert 2 <= answer["start"] + 0.3 <= 9.1


def test_predict_writes_the_same_figures_for_each_answered_recording(
    runs, record, tmp_path, capsys
):
    weights = ["--weights", str(runs / "rhythm" / WEIGHTS)]
    assert main([str(record[0]), *weights, "--out", str(tmp_path / "a")]) == 0
    flat = small_records.write(tmp_path, "flat", leads=("MLII",), signal=np.zeros((4000, 1)))
    both = [str(record[0]), str(flat)]
    assert predict([*both, *weights, "--explain", str(tmp_path / "b")]) == 0
    names = [[p.name for p in sorted((tmp_path / d).iterdir())] for d in "ab"]
    assert names[0] == names[1]
    assert "written: " in capsys.readouterr().err
    first, second = (files(tmp_path / d, "svg")[0].read_bytes() for d in "ab")
    assert first == second


@pytest.mark.parametrize(
    ("task", "flags", "words"),
    [
        ("rhythm", ["--class", "V"], "--class is 'V'. Classes of the rhythm task"),
        ("rhythm", ["--method", "attention"], "no time weights of its own"),
        ("rhythm", ["--beat", "100"], "--beat is for models of heartbeats"),
        ("rhythm", ["--to", "9"], "--to needs --from"),
        ("rhythm", ["--from", "9", "--to", "3"], "Give a --to after --from"),
        ("rhythm", ["--from", "9999"], "Name a part of at least 10 s"),
        ("rhythm", ["--source", "x"], "--source is 'x'"),
        ("beat", ["--beat", "99999999"], "has the samples 0 to"),
        ("beat", ["--from", "9999"], "no heartbeat of holter lies between"),
    ],
)
def test_a_mistake_is_answered_in_one_line(runs, record, tmp_path, capsys, task, flags, words):
    command = [str(record[0]), "--weights", str(runs / task / WEIGHTS), "--out", str(tmp_path)]
    assert main([*command, *flags]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert words in error
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_a_mistake(runs, record, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    command = [str(record[0]), "--weights", str(runs / "rhythm" / WEIGHTS)]
    assert main([*command, "--out", str(tmp_path / "file" / "x")]) == 2
    assert "cannot be written to" in capsys.readouterr().err.splitlines()[-1]


def test_a_recording_without_a_signal_is_not_explained(runs, tmp_path, capsys):
    rng = np.random.default_rng(0)
    noise = small_records.write(
        tmp_path, "noise", leads=("MLII",), fs=500, signal=rng.normal(0, 0.5, (6000, 1))
    )
    command = [str(noise), "--weights", str(runs / "rhythm" / WEIGHTS)]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    assert "There is nothing to explain." in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_pages_show_where_the_model_looked_and_say_why_not(runs, tmp_path):
    whole = Path(shutil.copytree(runs / "rhythm", tmp_path / "whole"))
    bare = Path(shutil.copytree(runs / "rhythm", tmp_path / "bare"))
    shutil.rmtree(bare / "weights")
    (bare / "weights").mkdir()
    pages = {}
    for folder in (whole, bare):
        write_report(folder)
        pages[folder] = "".join(p.read_text() for p in sorted(folder.glob("report/sites/*.html")))
    assert "amber speaks for" in pages[whole]
    assert "fill: #f0a000" in pages[whole]
    assert "Where the model looked is not drawn: the weights are no longer" in pages[bare]
    assert "fill: #f0a000" not in pages[bare]
    write_report(whole)
    again = "".join(p.read_text() for p in sorted(whole.glob("report/sites/*.html")))
    assert again == pages[whole]
