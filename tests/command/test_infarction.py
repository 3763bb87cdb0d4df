"""Infarction and plain beats from the command to a prediction, on synthetic recordings."""

import json

import numpy as np
import pytest
from support.recomputed import assert_recomputed, facts, table
from support.small_records import write

import run_sim
from fl.data.cohort import Cohort
from fl.data.shards import shard_in_memory
from fl.ecg.records import LEADS
from fl.ecg.tasks import TASKS
from fl.predict.__main__ import main as predict
from fl.training.augmentation import augment_batch
from partitions.summary import non_iid

QUICK = [
    *("--data", "synthetic", "--synthetic-records", "60", "--clients", "3", "--rounds", "1"),
    *("--engine", "local", "--workers", "1", "--local-epochs", "1", "--quiet", "--site-folds", "0"),
]
RUNS = {
    "mi": ["--task", "mi", "--compare", "fedavg"],
    "mi-12lead": ["--task", "mi-12lead", "--model", "resnet1d", "--holdout", "synthetic-2lead"],
    "beat-plain": ["--task", "beat-plain", "--per-recording", "5"],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Each run's folder, made when it is first asked for."""
    out, made = tmp_path_factory.mktemp("runs"), {}

    def folder(name):
        if name not in made:
            made[name] = out / name
            assert run_sim.main([*QUICK, *RUNS[name], "--out", str(out), "--name", name]) == 0
        return made[name]

    return folder


@pytest.mark.parametrize("task", RUNS)
def test_a_run_has_pages_and_a_card_that_name_its_classes(runs, task):
    folder = runs(task)
    page = (folder / "report" / "index.html").read_text()
    card = next((folder / "weights").glob("fedavg*.md")).read_text()
    for name in TASKS[task].classes:
        assert name in page
        assert name in card
    assert ("Kachuee" in card) == (task != "mi-12lead")
    assert ("An infarction of a wall" in card) == (task != "beat-plain")
    if task != "beat-plain":
        assert "Under the infarction tasks" in page
        assert "share of records (%)" in page


@pytest.mark.parametrize("task", ["mi", "mi-12lead"])
def test_a_recording_is_one_line_and_its_patient_counts_once(runs, task):
    folder = runs(task)
    rows = table(folder / "predictions.csv")
    rows = [row for row in rows if row["strategy"] == "fedavg"]
    keys = [(row["source"], row["record"]) for row in rows]
    assert len(keys) == len(set(keys))
    assert {row["y_MI"] for row in rows} == {"0", "1"}
    result = facts(folder / "summary.json")["strategies"]["fedavg"]
    central = [row for row in rows if row["site"] == "central"]
    assert_recomputed(result["central"], central, ["MI"], True)


def test_predict_answers_for_a_recording_or_for_its_windows(runs, tmp_path, capsys):
    weights = runs("mi") / "weights" / "fedavg-best.safetensors"
    stem = write(tmp_path, "R1", leads=LEADS, fs=500, seconds=30)
    asked = ["--weights", str(weights), "--json", str(stem)]
    for more, parts in (([], 1), (["--windows"], 3)):
        assert predict([*asked, *more]) == 0
        (record,) = json.loads(capsys.readouterr().out)["records"]
        assert len(record["findings"]) == parts
        assert set(record["findings"][0]["p"]) == {"MI"}
        assert record["not_answered"] == []


def test_predict_answers_for_twelve_leads_and_for_plain_beats(runs, tmp_path, capsys):
    stem = write(tmp_path, "R1", leads=LEADS, fs=500, seconds=30)
    for task, classes in (("mi-12lead", {"MI"}), ("beat-plain", set("NSVFQ"))):
        weights = runs(task) / "weights" / "fedavg-best.safetensors"
        assert predict(["--weights", str(weights), "--json", str(stem)]) == 0
        (record,) = json.loads(capsys.readouterr().out)["records"]
        assert set(record["findings"][0]["p"]) == classes


def test_predict_refuses_a_recording_without_lead_two(runs, tmp_path, capsys):
    weights = runs("mi") / "weights" / "fedavg-best.safetensors"
    stem = write(tmp_path, "R1", leads=("V1",), fs=500, seconds=30)
    assert predict(["--weights", str(weights), str(stem)]) == 2
    assert "reads II; found V1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--task", "mi", "--skew", "noise"], "cut beats from 0 to 1"),
        (["--task", "beat-plain", "--augment", "gain,stretch"], "moves waves in time"),
        (["--task", "mi", "--imbalance", "balanced"], "one class each. For mi: none,"),
        (["--task", "mi", "--model", "beat_mlp"], "the mi task has none"),
    ],
)
def test_what_cut_beats_cannot_have_is_refused_in_one_line(tmp_path, capsys, flags, words):
    assert run_sim.main([*QUICK, *flags, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error


@pytest.fixture
def cohort(tmp_path):
    """Eight synthetic recordings as the mi task has them."""
    from dataclasses import replace

    from fl.datasets.synthetic import SYNTHETIC

    source, task = replace(SYNTHETIC, infarction=True), TASKS["mi"]
    records = [source.read(tmp_path, name) for name in source.record_names(tmp_path)[:8]]
    return Cohort.of(task, [shard_in_memory(task, r, task.make_examples(r)) for r in records])


def test_augmentation_leaves_the_padding_zero(cohort, rng):
    batch = cohort.batch(np.arange(8), cohort.random_starts(np.arange(8), rng))
    padding = (batch.signal == 0).flip(2).cumprod(dim=2).flip(2).bool()
    assert padding.any()
    changed = augment_batch(batch, cohort.task, ("gain", "noise", "wander"), rng)
    assert not changed.signal[padding].any()
    difference = (changed.signal - batch.signal)[~padding].abs()
    assert 0 < difference.mean() < 0.1  # of an amplitude from 0 to 1


def test_sites_with_other_shares_of_infarctions_differ(cohort):
    from partitions.partition import Partition

    positive = cohort.labels[:, 0] == 1
    train = np.full(8, "train")
    apart = Partition(np.where(positive, "site-1", "site-2"), train)
    same = np.empty(8, dtype="U6")
    for rows in (np.flatnonzero(positive), np.flatnonzero(~positive)):
        same[rows] = np.where(np.arange(len(rows)) % 2, "site-1", "site-2")
    assert non_iid(cohort, apart) == 1
    assert non_iid(cohort, Partition(same, train)) < 0.5
