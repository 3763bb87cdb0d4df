"""Transfer from another model, from end to end: a rhythm run, then one that starts from it."""

import json

import numpy as np
import pytest
from support.run_folders import results
from support.saved_models import save_model

import run_sim
from fl.predict.saved_model import load_model
from fl.training.frozen import frozen_entries
from fl.training.state_dict import load_weights

FLAGS = [
    *("--data", "synthetic", "--synthetic-records", "60", "--clients", "2", "--rounds", "2"),
    *("--model", "cnn1d", "--local-epochs", "1", "--partition", "patients", "--engine", "local"),
    *("--quiet", "--batch-size", "4"),
]
WEIGHTS = "weights/fedavg-best.safetensors"
FROZEN = frozen_entries("features", "cnn1d", "rhythm")


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The run whose model is transferred."""
    out = tmp_path_factory.mktemp("first")
    assert run_sim.main([*FLAGS, "--out", str(out), "--name", "A"]) == 0
    return out / "A"


@pytest.fixture(scope="module")
def second(first):
    """The run that starts from it, of other patients' partition and with two trainings beside."""
    flags = ["--init-from", str(first / WEIGHTS), "--freeze", "features", "--seed", "1"]
    compared = ["--compare", "fedavg"]
    assert run_sim.main([*FLAGS, *flags, *compared, "--out", str(first.parent), "--name", "B"]) == 0
    return first.parent / "B"


def facts(run):
    return json.loads((run / "run.json").read_text())


def test_every_model_of_the_run_has_the_frozen_layers_of_the_first(first, second):
    expected = load_weights(first / WEIGHTS)
    files = sorted((second / "weights").glob("*.safetensors"))
    assert len(files) == 6  # fedavg and pooled: best and last; two sites alone
    for file in files:
        found = load_weights(file)
        for name in found:
            assert np.array_equal(found[name], expected[name]) == (name in FROZEN), (file, name)


def test_run_json_page_card_and_sidecar_state_the_origin(first, second):
    transfer = facts(second)["transfer"]
    sidecar = json.loads((first / "weights" / "fedavg.json").read_text())
    assert transfer["sha256"] == sidecar["sha256"]
    assert (transfer["task"], transfer["model"]) == ("rhythm", "cnn1d")
    assert transfer["frozen"] == len(FROZEN)
    # The model's file names the sources that trained it, and the next run's those of this one too.
    assert transfer["sources"] == sidecar["sources"] != []
    assert json.loads((second / "weights" / "pooled.json").read_text())["transfer"] == transfer
    expected = [
        f"network cnn1d, task rhythm, trained by fedavg on synthetic recordings, SHA-256 "
        f"{sidecar['sha256']}",
        f"{len(FROZEN)} entries stay as they were taken (--freeze features)",
        "dense.2.bias, feature_branch.mlp.0.weight, feature_branch.mlp.0.bias, "
        "feature_branch.mlp.3.weight, feature_branch.mlp.3.bias, head.weight, head.bias",
    ]
    for file in ("report/index.html", "weights/fedavg.md", "weights/local-site-1.md"):
        text = (second / file).read_text()
        assert all(words in text for words in expected), file
    assert "Training started from" not in (first / "report" / "index.html").read_text()
    assert load_model(second / WEIGHTS).name == "cnn1d"


def test_the_page_counts_only_the_bytes_that_are_sent(first, second):
    weights = load_weights(second / WEIGHTS)
    sent = sum(value.nbytes for name, value in weights.items() if name not in FROZEN)
    page = (second / "report" / "index.html").read_text()
    assert f"One update has {sent:,} bytes" in page
    whole = (first / WEIGHTS).stat().st_size
    assert f"One update has {whole:,} bytes" in (first / "report" / "index.html").read_text()


def test_test_patients_whom_the_first_model_knows_are_counted(first, second):
    def patients(run, tested):
        lines = [line.split(",") for line in (run / "partition.csv").read_text().splitlines()[1:]]
        return {
            (source, patient)
            for source, _, patient, site, split, *_ in lines
            if ((split == "test") if tested else split in ("train", "val"))
        }

    transfer = facts(second)["transfer"]
    tested = patients(second, True)
    seen = tested & patients(first, False)
    assert seen  # another seed deals other patients
    assert (transfer["test_patients"], transfer["seen_patients"]) == (len(tested), len(seen))
    words = f"{len(seen)} were among those that trained or validated that model"
    assert words in (second / "report" / "index.html").read_text()


def test_the_console_says_it_in_one_line(first, tmp_path, capsys):
    flags = ["--init-from", str(first / WEIGHTS), "--rounds", "1", "--no-pages"]
    assert run_sim.main([*FLAGS, *flags, "--out", str(tmp_path), "--name", "C"]) == 0
    (line,) = [li for li in capsys.readouterr().out.splitlines() if li.startswith("Transfer:")]
    assert "Transfer: Training started from fedavg-best.safetensors" in line
    assert "45 of 45 entries were taken." in line
    assert "0 were among those that trained" in line  # the same seed, the same partition


def test_a_resumed_run_keeps_its_start_whatever_became_of_the_file(first, tmp_path, monkeypatch):
    copy = tmp_path / "model" / "fedavg-best.safetensors"
    copy.parent.mkdir()
    for name in ("fedavg-best.safetensors", "fedavg.json"):
        (copy.parent / name).write_bytes((first / "weights" / name).read_bytes())
    flags = [*FLAGS, "--init-from", str(copy), "--no-pages", "--compare", "fedavg"]
    assert run_sim.main([*flags, "--out", str(tmp_path), "--name", "whole"]) == 0
    assert facts(tmp_path / "whole")["transfer"]["seen_patients"] is None  # no partition beside it

    from server.experiment import run as module

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "simulate", stop)
        assert run_sim.main([*flags, "--out", str(tmp_path), "--name", "stopped"]) != 0
    copy.unlink()
    resume = ["--resume", str(tmp_path / "stopped"), "--quiet", "--no-pages"]
    assert run_sim.main(resume) == 0
    assert results(tmp_path / "stopped") == results(tmp_path / "whole")


def test_a_changed_file_is_refused_when_nothing_was_started(first, tmp_path, monkeypatch, capsys):
    path = save_model(tmp_path / "other", "cnn1d", "rhythm")
    from server.experiment import run as module

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "prepare", stop)
        flags = [*FLAGS, "--init-from", str(path), "--no-pages"]
        assert run_sim.main([*flags, "--out", str(tmp_path), "--name", "stopped"]) != 0
    save_model(tmp_path / "other", "cnn1d", "rhythm", seed=12)
    capsys.readouterr()
    assert run_sim.main(["--resume", str(tmp_path / "stopped"), "--quiet"]) == 2
    assert "is not the file that the run began with" in capsys.readouterr().err


def test_seeds_and_folds_all_start_from_it(first, tmp_path):
    flags = ["--init-from", str(first / WEIGHTS), "--rounds", "1", "--no-pages"]
    parts = ["--seeds", "0,1", "--site-folds", "2"]
    assert run_sim.main([*FLAGS, *flags, *parts, "--out", str(tmp_path), "--name", "D"]) == 0
    runs = sorted(path.parent for path in (tmp_path / "D").rglob("run.json"))
    assert len(runs) == 7  # all, two seeds, two folds of each
    assert {facts(run)["transfer"]["sha256"] for run in runs} == {
        json.loads((first / "weights" / "fedavg.json").read_text())["sha256"]
    }


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--freeze", "features"], "--freeze is 'features', but no --init-from"),
        (["--init-from", "nothing.safetensors"], "no such file"),
        (["--init-from", "A", "--model", "resnet1d"], "stem.conv.weight has shape (56, 12, 5)"),
        (["--init-from", "A", "--task", "beat", "--model", "cnn1d"], "Accepted: weights of"),
        (["--init-from", "A", "--freeze", "dense"], "--freeze is 'dense': input should be"),
        (
            ["--init-from", "A", "--freeze", "features", "--strategy", "fedbn"],
            "has none outside its frozen layers",
        ),
    ],
)
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_mistake_is_one_line_and_leaves_nothing(first, tmp_path, capsys, flags, words, dry):
    flags = [str(first / WEIGHTS) if flag == "A" else flag for flag in flags]
    assert run_sim.main([*FLAGS, *flags, *dry, "--out", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_shows_what_is_frozen(first, capsys):
    flags = ["--init-from", str(first / WEIGHTS), "--freeze", "features", "--dry-run"]
    assert run_sim.main([*FLAGS, *flags]) == 0
    assert 'freeze = "features"  # not the default' in capsys.readouterr().out
