"""A run of hospitals: which test records the coordinator has, and what a failed start leaves."""

import json

import pytest
from support.saved_models import save_model
from support.small_records import challenge

from fl.runs.run_record import RunRecord
from fl.util.errors import FederationError
from server.deploy import __main__ as deploy
from server.deploy import run as module
from server.deploy.federation_store import FederationFolder
from server.rounds.initial_weights import INITIAL


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A federation with one site, in a folder that also holds `data` with recordings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEARTFED_CACHE", str(tmp_path / "cache"))
    assert deploy.main(["init", "federation", "--host", "x.example.org"]) == 0
    folder = FederationFolder(tmp_path / "federation")
    folder.note_site("a", node=7, approved="now", revoked="")
    for n, code in enumerate(["426783006", "164889003", "59118001"] * 2):
        challenge(tmp_path / "data" / "cpsc2018", f"A{n:04d}", code, seed=n, seconds=10)
    return folder


@pytest.fixture
def started(monkeypatch):
    """Runs are not started, but fail there: what was prepared is in the run directory."""

    def fail(folder, record, job):
        raise FederationError("not started")

    monkeypatch.setattr(module, "start", fail)


def begin(*flags):
    """The run directory's record, and its sources of central test records."""
    assert deploy.main(["run", "federation", "--name", "r", "--quiet", *flags]) == 1
    return record("runs/r")


def record(path):
    from pathlib import Path

    content = RunRecord.read(Path(path)).content
    return content, [source["source"] for source in content["data"]]


def test_without_data_dir_the_coordinator_has_no_test_records(folder, started):
    assert begin()[1] == []


def test_data_dir_counts_when_it_is_the_default_too(folder, started):
    content, sources = begin("--data-dir", "data")
    assert sources == ["cpsc2018"]
    assert content["central_test"] is True


def test_data_dir_in_a_file_counts_too(folder, started, tmp_path):
    (tmp_path / "run.toml").write_text('data-dir = "data"\n')
    assert begin("--config", "run.toml")[1] == ["cpsc2018"]


@pytest.mark.parametrize(("flags", "sources"), [((), []), (("--data-dir", "data"), ["cpsc2018"])])
def test_a_resumed_run_has_the_test_records_that_it_began_with(folder, started, flags, sources):
    begin(*flags)
    assert deploy.main(["run", "federation", "--resume", "runs/r", "--quiet"]) == 1
    assert record("runs/r")[1] == sources


def test_a_run_that_could_not_be_started_is_failed_and_not_running(folder, started):
    content, _ = begin()
    assert (content["status"], content["error"]) == ("failed", "not started")


def test_flower_is_asked_to_start_the_run(folder, monkeypatch):
    asked = []

    def ask_flower(folder, *order):
        asked.append(order)
        return {"success": True, "run-id": "12"}

    def watch(folder, record, view):
        raise FederationError("watched")

    monkeypatch.setattr(module, "ask_flower", ask_flower)
    monkeypatch.setattr(module, "watch", watch)
    content, _ = begin()
    assert content["flower_run"] == 12
    (order,) = asked
    assert order[:3] == ("run", str(folder.app), "heartfed")
    assert json.loads(order[4].removeprefix("job=")) == content["run"]


def test_the_coordinator_names_the_model_to_start_from_and_what_is_frozen(
    folder, tmp_path, monkeypatch
):
    jobs = []

    def fail(folder, record, job):
        jobs.append(job)
        raise FederationError("not started")

    monkeypatch.setattr(module, "start", fail)
    path = save_model(tmp_path / "before", "resnet1d", "rhythm")
    flags = ("--model", "resnet1d", "--init-from", str(path), "--freeze", "features")
    content, _ = begin(*flags)
    assert content["transfer"]["model"] == "resnet1d"
    assert content["transfer"]["freeze"] == "features"
    assert (tmp_path / "runs" / "r" / INITIAL).is_file()
    path.unlink()
    assert deploy.main(["run", "federation", "--resume", "runs/r", "--quiet"]) == 1
    first, resumed = jobs
    assert first.config == resumed.config
    assert resumed.for_sites().config.freeze == "features"


def test_a_model_that_does_not_fit_is_refused_before_a_run_directory_is_made(
    folder, tmp_path, capsys
):
    path = save_model(tmp_path / "before", "cnn1d", "rhythm")
    flags = ["--model", "resnet1d", "--init-from", str(path)]
    assert deploy.main(["run", "federation", "--name", "r", *flags]) == 2
    assert "stem.conv.weight has shape (56, 12, 5)" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
