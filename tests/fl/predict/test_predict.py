"""A trained model applied to single recordings predicts what it predicted in its run."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from support import made_runs

from fl.config.config_file import load_config
from fl.datasets.readers import wfdb_access
from fl.datasets.source_selection import select_sources
from fl.ecg.qrs_detection import usual_detector
from fl.predict.__main__ import main
from fl.predict.inference import predict_recording
from fl.predict.input_files import read_record
from fl.predict.saved_model import load_model

WEIGHTS = "weights/fedavg-best.safetensors"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of each task, without pages; tests must not change it."""
    out = tmp_path_factory.mktemp("runs")
    for name in ("rhythm", "beat"):
        made_runs.make(out, name)
    return out


@pytest.fixture
def weights(runs, tmp_path):
    """Makes a copy of one run's weights that a test may change."""

    def copy(name):
        shutil.copytree(runs / name / "weights", tmp_path / f"{name}-weights")
        return tmp_path / f"{name}-weights" / "fedavg-best.safetensors"

    return copy


def source_of(run, name):
    return select_sources(load_config(made_runs.facts(run / "run.json")["config"])).sources[name]


def expected(run, source):
    """The rows of predictions.csv for one source, by record."""
    rows = [r for r in made_runs.table(run / "predictions.csv") if r["source"] == source]
    return {row["record"]: row for row in rows}


def write_csv(path, signal, leads):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(leads)
        writer.writerows([[f"{v:.9g}" for v in row] for row in signal.T.tolist()])


def write_wfdb(folder, name, record, units="mV"):
    """Write the recording in a WFDB format without a loss of precision that matters."""
    wfdb_access.call(
        "wrsamp",
        name,
        fs=record.fs,
        units=[units] * len(record.leads),
        sig_name=list(record.leads),
        p_signal=record.signal.T.astype(float),
        fmt=["32"] * len(record.leads),
        write_dir=str(folder),
    )
    return folder / name


@pytest.mark.parametrize("source", ["synthetic", "synthetic-2lead"])
def test_a_record_of_the_cohort_gets_the_probability_that_the_run_gave_it(runs, source):
    run = runs / "rhythm"
    model, data = load_model(run / WEIGHTS), source_of(run, source)
    rows = expected(run, source)
    for name in list(rows)[:6]:
        record = data.read(Path(), name)
        result = predict_recording(model, record, name, source=source, windows=False, detector="")
        (segment,) = result.findings
        p = [float(rows[name][f"p_{c}"]) for c in model.task.classes]
        assert list(segment.p.values()) == pytest.approx(p, abs=1e-6)
        predicted = [c for c in model.task.classes if rows[name][f"d_{c}"] == "1"]
        assert list(segment.predicted) == predicted


def test_beats_of_the_cohort_get_the_probability_that_the_run_gave_them(runs):
    run = runs / "beat"
    model = load_model(run / WEIGHTS)
    all_rows = expected(run, "synthetic-2lead")
    name = next(iter(all_rows)).split("/")[0]
    record = source_of(run, "synthetic-2lead").read(Path(), name)
    source = "synthetic-2lead"
    result = predict_recording(model, record, name, source=source, windows=False, detector="")
    assert result.beats == "annotations"
    beats = {f"{name}/{f.peak:06d}": f for f in result.findings}
    rows = {beat: row for beat, row in all_rows.items() if beat.split("/")[0] == name}
    assert rows.keys() <= beats.keys()
    for beat, row in rows.items():
        p = [float(row[f"p_{c}"]) for c in model.task.classes]
        assert list(beats[beat].p.values()) == pytest.approx(p, abs=1e-6)
        predicted = [c for c in model.task.classes if row[f"d_{c}"] == "1"]
        assert list(beats[beat].predicted) == predicted
        assert len(predicted) == 1
        assert beats[beat].start <= beats[beat].peak < beats[beat].end


@pytest.fixture
def recording(runs):
    """A two-lead recording and its name."""
    name = next(iter(expected(runs / "rhythm", "synthetic-2lead")))
    return name, source_of(runs / "rhythm", "synthetic-2lead").read(Path(), name)


def test_wfdb_and_csv_of_a_recording_give_the_same_predictions(runs, recording, tmp_path, capsys):
    name, record = recording
    write_wfdb(tmp_path, name, record)
    write_csv(tmp_path / "table.csv", record.signal, record.leads)
    files = [str(tmp_path / name), str(tmp_path / f"{name}.hea"), str(tmp_path / "table.csv")]
    command = ["--weights", str(runs / "rhythm" / WEIGHTS), "--fs", f"{record.fs:g}", "--json"]
    assert main([*command, "--source", "synthetic-2lead", *files]) == 0
    predicted = json.loads(capsys.readouterr().out)
    assert predicted["source"] == "synthetic-2lead"
    assert set(predicted["calibration"]["AF"]) == {"slope", "intercept"}
    row = expected(runs / "rhythm", "synthetic-2lead")[name]
    for result in predicted["records"]:
        for c, p in result["findings"][0]["p"].items():
            assert p == pytest.approx(float(row[f"p_{c}"]), abs=2e-3)
    assert [r["record"] for r in predicted["records"]] == files
    assert predicted["records"][0]["leads"] == list(record.leads)
    assert predicted["synthetic"] is True


def test_a_lead_is_identified_by_its_name_and_not_by_its_column(runs, recording, tmp_path):
    _, record = recording
    write_csv(tmp_path / "a.csv", record.signal, record.leads)
    write_csv(tmp_path / "b.csv", record.signal[::-1], ["v1", "MLII"])
    a, b = (read_record(str(tmp_path / f"{n}.csv"), record.fs, "mV") for n in "ab")
    assert a.leads == b.leads == ("II", "V1")
    assert np.array_equal(a.signal, b.signal)


def test_long_recordings_are_predicted_in_windows(runs, recording, tmp_path, capsys):
    _, record = recording
    times = int(np.ceil(160 * record.fs / record.signal.shape[1]))
    write_csv(tmp_path / "long.csv", np.tile(record.signal, times), record.leads)
    command = ["--weights", str(runs / "rhythm" / WEIGHTS), "--fs", f"{record.fs:g}", "--csv"]
    assert main([*command, str(tmp_path / "long.csv")]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    step = 10 * record.fs
    assert [float(r["start"]) for r in rows] == [i * step for i in range(len(rows))]
    assert {float(r["end"]) - float(r["start"]) for r in rows} == {step}
    assert float(rows[-1]["end"]) <= record.signal.shape[1] * times
    assert len(rows) >= 16


def test_beats_without_annotations_are_found_by_a_detector(runs, recording, tmp_path, capsys):
    _, record = recording
    write_csv(tmp_path / "x.csv", np.tile(record.signal, 3), record.leads)
    command = ["--weights", str(runs / "beat" / WEIGHTS), "--fs", f"{record.fs:g}"]
    assert main([*command, "--json", str(tmp_path / "x.csv")]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["thresholds"].keys() == {"S", "V"}
    (result,) = printed["records"]
    assert result["beats"] == usual_detector(3 * record.signal.shape[1] / record.fs) == "energy"
    peaks = [f["peak"] for f in result["findings"]]
    assert len(peaks) > 10
    assert peaks == sorted(peaks)
    for found in result["findings"]:
        (answer,) = found["predicted"]
        above = {c for c, t in printed["thresholds"].items() if found["p"][c] >= t}
        assert answer in (above or {"N"})


def test_the_plain_lines_name_record_samples_and_classes(runs, recording, tmp_path, capsys):
    _, record = recording
    write_csv(tmp_path / "x.csv", record.signal, record.leads)
    command = ["--weights", str(runs / "rhythm" / WEIGHTS), "--fs", f"{record.fs:g}"]
    assert main([*command, str(tmp_path / "x.csv")]) == 0
    printed = capsys.readouterr()
    thresholds, head, line = printed.out.splitlines()
    assert thresholds.startswith("thresholds (of all sources)")
    assert len(thresholds) == len(head)
    assert head.split()[:5] == ["record", "samples", "predicted", "NSR", "AF"]
    assert f"0-{record.signal.shape[1]}" in line
    assert "not a medical device" in printed.err
    assert "SYNTHETIC DATA" in printed.err


def test_beats_are_answered_at_the_thresholds_of_the_source_that_is_named(
    runs, recording, tmp_path, capsys
):
    _, record = recording
    write_csv(tmp_path / "x.csv", np.tile(record.signal, 3), record.leads)
    command = ["--weights", str(runs / "beat" / WEIGHTS), "--fs", f"{record.fs:g}"]
    assert main([*command, "--source", "synthetic-2lead", str(tmp_path / "x.csv")]) == 0
    thresholds, head, *lines = capsys.readouterr().out.splitlines()
    assert thresholds.startswith("thresholds (of synthetic-2lead)")
    assert head.split()[-5:] == ["N", "S", "V", "F", "Q"]
    n, s, v, f, q = thresholds.split()[-5:]
    assert (n, f, q) == ("-", "-", "-"), "only S and V have a threshold"
    assert "-" not in (s, v)
    assert len(lines) > 10
    assert main([*command, "--source", "elsewhere", str(tmp_path / "x.csv")]) == 2
    assert "The model has thresholds for: pooled, synthetic" in capsys.readouterr().err


SECONDS = 12
FLAT = np.zeros((1, 100 * SECONDS))
WAVE = np.sin(np.linspace(0, 2 * np.pi * SECONDS, 100 * SECONDS))[None]
BAD_TABLES = {
    "no lead": (WAVE, ["foo"], "known: I, II"),
    "twice": (np.tile(WAVE, (2, 1)), ["II", "MLII"], "lead II is named twice"),
    "unit": (1000 * WAVE, ["II"], "Give the unit: --unit"),
    "short": (WAVE[:, :300], ["II"], "the recording is too short (3.0 s"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_a_table_that_cannot_be_used_is_refused_in_one_line(runs, tmp_path, capsys, name):
    signal, leads, message = BAD_TABLES[name]
    write_csv(tmp_path / "x.csv", signal, leads)
    command = ["--weights", str(runs / "rhythm" / WEIGHTS), "--fs", "100"]
    assert main([*command, str(tmp_path / "x.csv")]) == 2
    printed = capsys.readouterr()
    errors = [line for line in printed.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert printed.out == ""


BAD_FILES = {
    "text": ("I,II\n1,x\n", "line 2 is not all numbers"),
    "ragged": ("I,II\n1\n", "line 2 has 1 values, but its header has 2"),
    "empty": ("I,II\n", "has no samples"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_is_not_a_table_is_refused_in_one_line(runs, tmp_path, capsys, name):
    content, message = BAD_FILES[name]
    (tmp_path / "x.csv").write_text(content)
    command = ["--weights", str(runs / "rhythm" / WEIGHTS), "--fs", "100"]
    assert main([*command, str(tmp_path / "x.csv")]) == 2
    assert message in capsys.readouterr().err


MISSING = {
    "no rate": (["{folder}/x.csv"], "a CSV file does not contain its sampling rate"),
    "no file": (["{folder}/none"], "none.hea does not exist"),
    "signal file": (["{folder}/x.dat"], "Name its header:"),
}


@pytest.mark.parametrize("name", MISSING)
def test_a_record_that_cannot_be_read_is_refused(runs, tmp_path, capsys, name):
    arguments, message = MISSING[name]
    (tmp_path / "x.csv").write_text("I\n1\n")
    records = [text.format(folder=tmp_path) for text in arguments]
    assert main(["--weights", str(runs / "rhythm" / WEIGHTS), *records]) == 2
    assert message in capsys.readouterr().err


def test_a_header_with_another_unit_is_refused(runs, recording, tmp_path, capsys):
    name, record = recording
    write_wfdb(tmp_path, name, record, units="mmHg")
    assert main(["--weights", str(runs / "rhythm" / WEIGHTS), str(tmp_path / name)]) == 2
    assert "unit is 'mmHg'; mV is expected" in capsys.readouterr().err


def test_a_wrong_checksum_is_refused_unless_it_is_to_be_ignored(runs, recording, tmp_path, capsys):
    name, record = recording
    header = write_wfdb(tmp_path, name, record).with_suffix(".hea")
    first, *signals = header.read_text().splitlines()
    fields = [line.split() for line in signals]
    for line in fields:
        line[6] = str((int(line[6]) + 1) % 2**15)
    header.write_text("\n".join([first, *map(" ".join, fields)]) + "\n")
    call = ["--weights", str(runs / "rhythm" / WEIGHTS), "--json", str(header)]
    assert main(call) == 2
    assert "--ignore-checksums" in capsys.readouterr().err
    assert main([*call, "--ignore-checksums"]) == 0
    assert json.loads(capsys.readouterr().out)["records"][0]["findings"]


def test_the_other_records_are_predicted_even_if_one_fails(runs, recording, tmp_path, capsys):
    name, record = recording
    write_wfdb(tmp_path, name, record)
    files = [str(tmp_path / "none"), str(tmp_path / name)]
    assert main(["--weights", str(runs / "rhythm" / WEIGHTS), *files]) == 2
    printed = capsys.readouterr()
    assert "none.hea" in printed.err
    assert len(printed.out.splitlines()) == 3


def test_microvolts_become_millivolts(recording, tmp_path):
    _, record = recording
    write_csv(tmp_path / "x.csv", 1000 * record.signal, record.leads)
    in_microvolts = read_record(str(tmp_path / "x.csv"), record.fs, "uV")
    assert in_microvolts.signal == pytest.approx(record.signal, abs=1e-4)


def test_beats_need_lead_two(runs, tmp_path, capsys):
    write_csv(tmp_path / "x.csv", WAVE, ["V1"])
    command = ["--weights", str(runs / "beat" / WEIGHTS), "--fs", "100"]
    assert main([*command, str(tmp_path / "x.csv")]) == 2
    assert "the beat task reads II; found V1" in capsys.readouterr().err


def refused(path, capsys, *more):
    """The one line with which weights are refused."""
    assert main(["--weights", str(path), "x", *more]) == 2
    stderr = capsys.readouterr().err
    assert stderr.count("\n") == 1
    return stderr


def test_weights_of_the_other_task_are_refused(weights, runs, capsys):
    path = weights("rhythm")
    assert "is for the task 'rhythm', not 'beat'" in refused(path, capsys, "--task", "beat")
    shutil.copy(runs / "beat" / "weights" / "fedavg.json", path.with_name("fedavg.json"))
    assert "are of the task 'rhythm', but fedavg.json says 'beat'" in refused(path, capsys)


def test_weights_without_their_description_or_with_another_one_are_refused(weights, capsys):
    path = weights("rhythm")
    sidecar = path.with_name("fedavg.json")
    made_runs.change(sidecar, lambda facts: facts.update(sha256="0" * 64))
    assert "its SHA-256 is not the one in fedavg.json" in refused(path, capsys)
    sidecar.write_text("{")
    assert "not valid JSON" in refused(path, capsys)
    sidecar.unlink()
    assert "python -m fl.reports RUN" in refused(path, capsys)
    path.write_bytes(b"nonsense")
    assert "is not a safetensors file" in refused(path, capsys)
    path.unlink()
    assert "no such file" in refused(path, capsys)


def test_a_source_without_thresholds_is_refused(runs, capsys):
    stderr = refused(runs / "rhythm" / WEIGHTS, capsys, "--source", "nope")
    assert "The model has thresholds for: pooled, synthetic, synthetic-2lead" in stderr
