"""Single heartbeats in a table: answered line by line by beat-plain, and why not by others."""

import csv
import io
import json

import numpy as np
import pytest
from support.cut_beats import cuts, table
from support.rules import even_rule
from support.saved_models import save_model

import heartfed
from fl.data.cohort import Cohort
from fl.data.shards import shard_in_memory
from fl.ecg.beat_cuts import CUT_FS
from fl.ecg.labels import BEAT_CLASSES
from fl.ecg.records import Examples, Record
from fl.ecg.tasks import BEAT_PLAIN, TASKS
from fl.explain.__main__ import main as explain
from fl.predict.__main__ import main
from fl.training.loop import predict

BEATS = cuts(4)


def weights(folder, network, task):
    asked = TASKS[task]
    rule = even_rule(asked.classes, 0.3, asked.alone, asked.otherwise)
    return save_model(folder / f"{task}-{network}", network, task, decision=rule.to_json())


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return weights(tmp_path_factory.mktemp("plain"), "cnn1d", "beat-plain")


@pytest.fixture
def beats(tmp_path):
    path = tmp_path / "beats.csv"
    path.write_bytes(table(BEATS, label="0.000000"))
    return path


def rows_of(path, model, capsys, *flags):
    assert main(["--weights", str(model), str(path), "--csv", *flags]) == 0
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def test_each_line_has_its_class_as_in_training(beats, plain, capsys):
    model = heartfed.load_model(plain)
    examples = Examples(
        names=list("abcd"),
        signals=list(BEATS[:, None]),
        leads=(0,),
        labels=np.zeros((4, len(BEAT_CLASSES)), dtype=np.int8),
        features=np.zeros((4, 0), dtype=np.float32),
    )
    record = Record(
        source="",
        name="r",
        patient="r",
        signal=BEATS.reshape(1, -1),
        leads=("II",),
        fs=CUT_FS,
        labels=None,
    )
    shard = shard_in_memory(BEAT_PLAIN, record, examples)
    p = predict(model.network, Cohort.of(BEAT_PLAIN, [shard]))
    rows = rows_of(beats, plain, capsys)
    assert [row["record"] for row in rows] == [f"{beats}:{line}" for line in (1, 2, 3, 4)]
    assert [(row["start"], row["end"], row["peak"]) for row in rows] == [
        (str(187 * i), str(187 * i + 120), str(187 * i)) for i in range(4)
    ]
    assert {row["predicted"] for row in rows} <= set(BEAT_CLASSES)
    for i, row in enumerate(rows):
        given = np.array([float(row[f"p_{c}"]) for c in BEAT_CLASSES])
        assert given == pytest.approx(p[i], abs=2e-4)


def test_text_json_and_python_answer_the_same(beats, plain, capsys):
    rows = rows_of(beats, plain, capsys)
    assert main(["--weights", str(plain), str(beats)]) == 0
    out = capsys.readouterr()
    assert f"{beats}:3" in out.out
    assert "taken for a class" in out.err
    assert main(["--weights", str(plain), str(beats), "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)["records"]
    assert [f["line"] for f in record["findings"]] == [1, 2, 3, 4]
    assert (record["beats"], record["summary"]) == ("cut out", None)
    found = heartfed.predict(heartfed.load_model(plain), beats)
    assert [f.predicted[0] for f in found.findings] == [row["predicted"] for row in rows]


@pytest.mark.parametrize(
    ("network", "task"),
    [("cnn1d", "rhythm"), ("beat_cnn", "beat"), ("cnn1d", "mi"), ("cnn2d", "beat7")],
)
def test_another_task_cannot_say_and_names_the_one_that_can(tmp_path, beats, capsys, network, task):
    model = weights(tmp_path, network, task)
    (row,) = rows_of(beats, model, capsys)
    assert row["cannot_say"].startswith("it holds single heartbeats, cut out of recordings")
    assert f"the {task} task" in row["cannot_say"]
    assert "A model of the task beat-plain answers single beats" in row["cannot_say"]
    assert heartfed.predict(heartfed.load_model(model), beats).cannot_say == row["cannot_say"]


def test_a_beat_that_is_not_as_the_task_has_it_is_refused_by_itself(tmp_path, plain, capsys):
    early = np.roll(BEATS[0], 40)  # its R peak is 0.3 s after its first sample
    early[:40] = BEATS[0, 100]
    flat, short = np.full(187, 0.5), np.where(np.arange(187) < 20, BEATS[0], 0)
    given = np.stack([BEATS[0], early, flat, short, np.zeros(187)])
    (tmp_path / "odd.csv").write_bytes(table(given))
    reasons = [row["cannot_say"] for row in rows_of(tmp_path / "odd.csv", plain, capsys)]
    assert reasons[0] == ""
    assert reasons[1].startswith("it does not begin at its R peak")
    assert reasons[2] == "its signal is flat"
    assert reasons[3] == "it has 0.16 s of signal; at least 0.3 s"
    assert reasons[4] == "it has 0.00 s of signal; at least 0.3 s"
    (tmp_path / "none.csv").write_bytes(table(given[2:]))
    assert len(rows_of(tmp_path / "none.csv", plain, capsys)) == 3


def test_another_rate_and_scale_change_the_answer_little(tmp_path, plain, capsys):
    fast = np.stack([np.interp(np.arange(250) / 250, np.arange(187) / 125, b) for b in BEATS])
    (tmp_path / "fast.csv").write_bytes(table(1.3 * fast - 0.2))
    rows = rows_of(tmp_path / "fast.csv", plain, capsys, "--fs", "250", "--leads", "II")
    (tmp_path / "beats.csv").write_bytes(table(BEATS[:, :125]))
    usual = rows_of(tmp_path / "beats.csv", plain, capsys, "--fs", "125", "--leads", "II")
    for one, other in zip(rows, usual, strict=True):
        assert float(one["p_V"]) == pytest.approx(float(other["p_V"]), abs=0.02)


def test_a_single_beat_is_explained(tmp_path, beats, plain, capsys):
    command = ["--weights", str(plain), str(beats), "--out", str(tmp_path / "why"), "--json"]
    assert explain(command) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["peak"] % 187 == 0
    assert list((tmp_path / "why").glob("*.png"))
