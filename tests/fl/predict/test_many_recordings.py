"""`predict` at the size of a hospital: folders and lists in, answers out as they come."""

import csv
import errno
import io
import json
import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import made_runs

from fl.datasets.readers import wfdb_access
from fl.datasets.synthetic import SYNTHETIC
from fl.ecg.records import Record
from fl.predict import __main__ as command
from fl.predict import output_file, recording_pool, several
from fl.predict.inference import predict_recording
from fl.predict.recording_list import recordings_named
from fl.predict.recording_pool import PredictionJob
from fl.predict.saved_model import load_model
from fl.predict.several import Answer, Reading, answers_to
from fl.reports.card import write_cards
from fl.reports.run_files import read_run
from fl.util.errors import UnusableRecord

WEIGHTS = "weights/fedavg-best.safetensors"
READING = Reading(source="pooled")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_cards(read_run(made_runs.make(folder, "rhythm")))
    return folder / "rhythm" / WEIGHTS


@pytest.fixture(scope="module")
def records():
    """Synthetic recordings of three lengths; some have lead I alone."""
    source = replace(SYNTHETIC, n_records=9)
    found = [source.read(Path(), name) for name in source.record_names(Path())[:9]]
    cut = [3000, 3000, 3000, 2500, 3000, 2500, 2500, 3000, 4000]
    made = [
        replace(record, signal=record.signal[:, :n]) for record, n in zip(found, cut, strict=True)
    ]
    lead_one = [
        replace(record, signal=record.signal[:1], leads=("I",), name=f"{record.name}-I")
        for record in made[:4]
    ]
    return {record.name: record for record in (*made, *lead_one)}


@pytest.fixture(scope="module")
def files(records, tmp_path_factory):
    """The recordings as WFDB files, in two folders."""
    folder = tmp_path_factory.mktemp("records")
    for number, record in enumerate(records.values()):
        place = folder / f"ward{number % 2}"
        place.mkdir(exist_ok=True)
        wfdb_access.call(
            "wrsamp",
            record.name,
            fs=record.fs,
            units=["mV"] * len(record.leads),
            sig_name=list(record.leads),
            p_signal=record.signal.T.astype(float),
            fmt=["16"] * len(record.leads),
            write_dir=str(place),
        )
    return folder


def paths_of(folder):
    return sorted(str(path) for path in folder.rglob("*.hea"))


def test_many_recordings_get_the_answers_that_each_gets_by_itself(weights, records):
    model = load_model(weights)
    for reading in (READING, replace(READING, windows=True)):
        together = answers_to(model, list(records), records.__getitem__, reading)
        for (name, record), answer in zip(records.items(), together, strict=True):
            alone = predict_recording(
                model, record, name, source="pooled", windows=reading.windows, detector=""
            )
            assert (answer.name, answer.error) == (name, "")
            assert answer.prediction.leads == alone.leads
            assert len(answer.prediction.findings) == len(alone.findings)
            for one, other in zip(answer.prediction.findings, alone.findings, strict=True):
                assert (one.start, one.end, one.cannot_say) == (
                    other.start,
                    other.end,
                    other.cannot_say,
                )
                assert one.lead_quality == other.lead_quality
                for name_of_class, p in other.p.items():
                    assert one.p[name_of_class] == (
                        None if p is None else pytest.approx(p, abs=1e-5)
                    )


def test_memory_is_bounded_by_samples_and_not_by_recordings(weights, records, monkeypatch):
    sizes = []
    original = several._answered
    monkeypatch.setattr(several, "MOST_VALUES", 100_000)
    monkeypatch.setattr(
        several,
        "_answered",
        lambda model, batch, reading: (
            sizes.append(sum(item.record.signal.size for item in batch)),
            original(model, batch, reading),
        )[1],
    )
    model = load_model(weights)
    names = list(records)
    assert [a.name for a in answers_to(model, names, records.__getitem__, READING)] == names
    assert max(sizes) < 100_000 + 12 * 4000
    assert len(sizes) >= 3


def test_no_recording_stops_the_others(weights, records):
    """Neither one that cannot be used nor a bug, whose text could name a patient."""
    first, second, *_ = records
    bad = {
        "empty": UnusableRecord("empty", "bad-header", "nothing in it"),
        "bug": RuntimeError("patient John Doe"),
        "silent": UnusableRecord("silent", "no-signal", "I flat"),
    }

    def read(name):
        if name in bad:
            raise bad[name]
        return records.get(name) or replace(
            records[first], signal=records[first].signal[:, :600], name=name
        )

    names = [first, "empty", "bug", "silent", "short", second]
    found = list(answers_to(load_model(weights), names, read, READING))
    assert [answer.name for answer in found] == names
    assert found[0].prediction is not None
    assert found[5].prediction is not None
    assert "nothing in it" in found[1].error
    assert "RuntimeError" in found[2].error
    assert "John" not in found[2].error
    assert "flat" in found[3].prediction.cannot_say
    assert "too short" in found[4].error


def test_a_batch_that_fails_as_a_whole_is_tried_one_by_one(weights, records, monkeypatch):
    monkeypatch.setattr(several, "assess_several", lambda *_: 1 / 0)
    found = list(answers_to(load_model(weights), list(records), records.__getitem__, READING))
    assert all(answer.prediction for answer in found)


def test_folders_patterns_lists_and_standard_input_name_recordings(files, tmp_path, monkeypatch):
    names = paths_of(files)
    (tmp_path / "list.txt").write_text("\ufeff" + "\n".join([*names[:2], "", str(files / "ward1")]))
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{names[3]}\n\n{names[4]}\n"))
    ward = paths_of(files / "ward1")
    assert recordings_named([str(files)]).names == names
    assert recordings_named([str(files / "*" / "*.hea")]).names == names
    assert recordings_named([str(files / "ward1" / "*")]).names == ward
    assert recordings_named([], [tmp_path / "list.txt"]).names == [*names[:2], *ward]
    assert recordings_named(["-"]).names == names[3:5]


def test_what_is_no_recording_in_a_folder_is_counted(files, tmp_path):
    folder = tmp_path / "mixed"
    shutil.copytree(files / "ward0", folder)
    for name in ("labels.csv", "notes.pdf", "list.PDF", "README"):
        (folder / name).write_text("x")
    (folder / "sine.csv").write_text("I\n0\n")
    (folder / "loop").symlink_to(folder)
    (folder / "long.hea").write_text("long/2 1 100 2000\nlong_1 1000\nlong_2 1000\n")
    for part in (1, 2):
        (folder / f"long_{part}.hea").write_text(f"long_{part} 1 100 1000\n")
    listed = recordings_named([str(folder)])
    kept = {Path(name).name for name in listed.names}
    assert kept == {*os.listdir(files / "ward0"), "sine.csv", "long.hea"} - {
        name for name in os.listdir(files / "ward0") if name.endswith(".dat")
    }
    assert listed.others == Counter({".pdf": 2, ".csv": 1, "without a suffix": 1})
    assert listed.left_out() == ("not recordings, and left out: 1 .csv, 2 .pdf, 1 without a suffix")


def test_a_folder_or_pattern_without_recordings_is_a_mistake(weights, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    call = ["--weights", str(weights), str(tmp_path / "empty"), str(tmp_path / "*.hea")]
    assert command.main(call) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"error: {tmp_path / 'empty'}: no recording in it" in err
    assert "no file matches the pattern" in err


@pytest.mark.parametrize("path", ["missing.txt", "binary.txt"])
def test_a_list_that_cannot_be_read_is_one_line(weights, tmp_path, capsys, path):
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    assert command.main(["--weights", str(weights), "--list", str(tmp_path / path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: --list {tmp_path / path}: cannot be read")


def test_without_any_recording_the_command_says_what_to_name(weights, capsys):
    assert command.main(["--weights", str(weights)]) == 2
    assert "name a recording, a folder, a pattern" in capsys.readouterr().err


def test_every_form_has_the_same_answers(weights, files, capsys):
    call = ["--weights", str(weights), str(files)]
    found = {}
    for form in ("--csv", "--json", "--jsonl"):
        assert command.main([*call, form]) == 0
        found[form] = capsys.readouterr().out
    records = json.loads(found["--json"])["records"]
    lines = [json.loads(line) for line in found["--jsonl"].splitlines()]
    rows = list(csv.DictReader(io.StringIO(found["--csv"])))
    assert [one["record"] for one in records] == paths_of(files)
    for one, line, row in zip(records, lines, rows, strict=True):
        assert {key: line[key] for key in one} == one
        assert line["model"] == json.loads(found["--json"])["model"]
        assert row["record"] == one["record"]
        for name, p in one["findings"][0]["p"].items():
            assert row[f"p_{name}"] == ("" if p is None else f"{p:.7f}")


def test_the_answers_go_into_a_new_file(weights, files, tmp_path, capsys):
    out = tmp_path / "answers.csv"
    call = ["--weights", str(weights), str(files), "--csv"]
    assert command.main(call) == 0
    printed = capsys.readouterr().out
    assert command.main([*call, "--out", str(out)]) == 0
    assert capsys.readouterr().out == ""
    assert out.read_text() == printed
    assert command.main([*call, "--out", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert out.read_text() == printed
    assert command.main([*call, "--out", str(tmp_path / "no" / "a.csv")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def in_chunks(monkeypatch, size):
    monkeypatch.setattr(recording_pool, "CHUNK", size)


def stops_after(monkeypatch, chunks, error):
    """The answers come in chunks, and after some of them something happens."""
    original = recording_pool.all_answers

    def answers(*given):
        for number, some in enumerate(original(*given)):
            if number == chunks:
                raise error
            yield some

    monkeypatch.setattr(command, "all_answers", answers)


@pytest.mark.parametrize("form", ["--csv", "--json"])
def test_ctrl_c_keeps_what_is_done(weights, files, tmp_path, monkeypatch, capsys, form):
    in_chunks(monkeypatch, 4)
    stops_after(monkeypatch, 2, KeyboardInterrupt())
    out = tmp_path / "answers"
    assert command.main(["--weights", str(weights), str(files), form, "--out", str(out)]) == 1
    err = capsys.readouterr().err.splitlines()
    assert err[-1].endswith(
        "stopped after 8 of 13 recordings, whose answers are written: interrupted."
    )
    text = out.read_text()
    if form == "--json":
        assert len(json.loads(text)["records"]) == 8
    else:
        assert len(text.splitlines()) == 9


def test_a_full_disk_keeps_whole_lines(weights, files, tmp_path, monkeypatch, capsys):
    in_chunks(monkeypatch, 4)
    out = tmp_path / "answers.csv"
    room = 1500

    class Disk:
        """A file on a disk with little room: the last write is cut short, the next one fails."""

        def __init__(self, file):
            self.file = file

        def write(self, content):
            left = room - self.file.tell()
            if left <= 0:
                raise OSError(errno.ENOSPC, "No space left on device", str(out))
            return self.file.write(content[:left])

        def __getattr__(self, name):
            return getattr(self.file, name)

    def opened(*args, **kwargs):
        return Disk(open(*args, **kwargs))

    monkeypatch.setattr(output_file, "open", opened, raising=False)
    call = ["--weights", str(weights), str(files), "--csv", "--out", str(out)]
    assert command.main(call) == 1
    *_, last = capsys.readouterr().err.splitlines()
    assert "No space left on device; make room" in last
    monkeypatch.undo()
    lines = out.read_text().splitlines()
    assert 1 < len(lines) < 13
    assert len(lines) % 4 == 1  # the head and whole chunks
    n_written = len(lines) - 1
    assert f"stopped after {n_written} of 13" in last


@pytest.mark.parametrize("fails_at", ["answers", "end"])
def test_an_output_that_cannot_be_written_ends_in_one_line(
    weights, files, tmp_path, monkeypatch, capsys, fails_at
):
    """Such as a limit on the size of files, or a network drive that is gone."""
    original = command.Output.write

    def write(self, text):
        if fails_at == "answers" or len(text) < 10:
            raise OSError(errno.EIO, "Input/output error")
        original(self, text)

    monkeypatch.setattr(command.Output, "write", write)
    out = str(tmp_path / "x.json")
    assert command.main(["--weights", str(weights), str(files), "--json", "--out", out]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.endswith("Input/output error; run again for the others.")


def test_a_reader_that_has_enough_ends_the_command(weights, files, monkeypatch, capsys):
    def closed(_):
        raise BrokenPipeError

    monkeypatch.setattr(command.Output, "write", lambda self, text: closed(text))
    monkeypatch.setattr(command.Output, "closed_by_reader", lambda self: 1)
    assert command.main(["--weights", str(weights), str(files), "--csv"]) == 1
    assert "Traceback" not in capsys.readouterr().err


class DeadlyJob(PredictionJob):
    """A job in which one recording ends the process that reads it."""

    def answers(self, model, names):
        for name in names:
            if name == "deadly":
                os._exit(3)
            if name == "bad":
                yield Answer(name=name, error="bad: cannot be used")
            else:
                yield from super().answers(model, [name])


# Half a dozen processes load torch: `make test-slow` runs it.
@pytest.mark.slow
def test_several_processes_answer_in_order_and_survive_a_deadly_recording(
    weights, files, monkeypatch
):
    in_chunks(monkeypatch, 3)
    job = DeadlyJob(weights=weights, task="", fs=None, unit="mV", reading=READING)
    names = paths_of(files)
    names[4:4] = ["deadly"]
    names[9:9] = ["bad"]
    model = load_model(weights)
    chunks = list(recording_pool.all_answers(job, model, names, workers=2))
    found = [answer for some in chunks for answer in some]
    assert [answer.name for answer in found] == names
    assert "process that read it ended" in found[4].error
    assert found[9].error == "bad: cannot be used"
    alone = PredictionJob(weights=weights, task="", fs=None, unit="mV", reading=READING)
    expected = {
        answer.name: answer
        for some in recording_pool.all_answers(alone, model, paths_of(files), workers=1)
        for answer in some
    }
    for answer in found:
        if not answer.error:
            want = expected[answer.name].prediction.findings[0].p
            got = answer.prediction.findings[0].p
            assert got == {
                name: None if p is None else pytest.approx(p, abs=1e-5) for name, p in want.items()
            }


def test_counts_are_shown_at_the_end_of_many(weights, files, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "FEW", 5)
    (tmp_path / "broken.hea").write_text("nonsense")
    call = ["--weights", str(weights), str(files), str(tmp_path / "broken.hea"), "--csv"]
    assert command.main(call) == 2
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1 + len(paths_of(files))
    assert str(tmp_path / "broken.hea") in err
    last = err.splitlines()[-1]
    assert last.startswith("14 recordings: ")
    assert last.endswith("1 not read")


def test_a_flat_signal_is_an_answer_and_not_an_error(weights):
    flat = Record(
        source="",
        name="flat",
        patient="flat",
        signal=np.zeros((1, 5000), dtype=np.float32),
        leads=("I",),
        fs=500.0,
        labels=None,
    )
    (answer,) = answers_to(load_model(weights), ["flat"], lambda _: flat, READING)
    assert answer.prediction.cannot_say == "the signal is flat"


def test_what_a_file_left_open_is_noted_once_for_all_recordings(weights, files, tmp_path, capsys):
    folder = tmp_path / "ward"
    shutil.copytree(files / "ward0", folder)
    for number, header in enumerate(sorted(folder.glob("*.hea"))):
        first, *signals = header.read_text().splitlines()
        date = " 12:00:00 2006" if number < 2 else ""
        header.write_text("\n".join([first + date, *signals]) + "\n")
    assert command.main(["--weights", str(weights), str(folder)]) == 0
    notes = [x for x in capsys.readouterr().err.splitlines() if "the date or time" in x]
    assert len(notes) == 1
    name = sorted(str(path) for path in folder.glob("*.hea"))[0]
    assert notes[0].startswith(f"note: {name} and 1 more: ")


def test_a_warning_about_many_recordings_is_one_line(weights, files, capsys, monkeypatch):
    call = ["--weights", str(weights), str(files), "--csv"]
    assert command.main(call) == 0
    each = [line for line in capsys.readouterr().err.splitlines() if "not answered" in line]
    assert len(each) == 4  # the recordings of lead I alone
    monkeypatch.setattr(command, "FEW", 5)
    assert command.main(call) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "not answered" in line]
    assert " and 3 more: STD and STE are not answered from lead I alone" in line
