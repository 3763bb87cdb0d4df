"""A run whose training is over is resumed without sites: what was left to write is written."""

import json

import pytest
from support.prepared_sites import PreparedSites, prepared_job
from support.rounds import run

from fl.config.run_config import RunConfig
from fl.messages.payloads import SiteInfo
from fl.runs.run_facts import read_run_facts
from fl.runs.run_record import RunRecord
from fl.util.errors import FederationError
from server.deploy import __main__ as deploy
from server.deploy import run as module
from server.deploy.progress import PROGRESS, ProgressWriter

SITES = ["site-1", "site-2", "site-3"]
CLASSES = ("NSR", "AF")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The run directory of a deployment of three hospitals whose SuperLink has ended."""
    monkeypatch.chdir(tmp_path)
    assert deploy.main(["init", "federation", "--host", "x.example.org"]) == 0
    made = tmp_path / "runs" / "r"
    made.mkdir(parents=True)
    config = RunConfig(clients=3, rounds=2, engine="local", averaging="plain", timeout=5.0)
    record = RunRecord.new(made, config, ())
    record.update(run="r-1", flower_run=12, engine="deployment", status="failed", error="killed")
    record.update(sites=[{"site": site} for site in SITES], data=[], central_test=False)
    return made


@pytest.fixture
def trained(folder, monkeypatch):
    """The same once its training is over; and what of it was shown."""
    job = prepared_job(folder)
    run(job, PreparedSites())
    infos = [SiteInfo(site=s, n_train=10, n_val=20, n_test=30, n_records=1000) for s in SITES]
    ProgressWriter(folder / PROGRESS, CLASSES).training("fedavg", 2, infos)
    for name in ("rounds.csv", "sites.csv", "predictions.csv"):
        (folder / name).unlink()
    shown = []
    monkeypatch.setattr(module, "show_results", lambda console, record: shown.append(record.folder))
    return shown


def test_tables_sites_and_pages_are_written_though_no_superlink_answers(folder, trained, capsys):
    assert deploy.main(["run", "federation", "--resume", "runs/r"]) == 0
    facts = read_run_facts(folder)
    assert [(row["site"], row["train"], row["test"]) for row in facts.sites] == [
        (site, 10, 30) for site in SITES
    ]
    content = json.loads((folder / "run.json").read_text())
    assert (content["status"], len(content["resumed"])) == ("completed", 1)
    assert "error" not in content
    assert len((folder / "rounds.csv").read_text().splitlines()) == 3
    assert (folder / "predictions.csv").exists()
    summary = json.loads((folder / "summary.json").read_text())
    assert set(summary["strategies"]["fedavg"]["sites"]) == set(SITES)
    assert [path.resolve() for path in trained] == [folder]
    assert "The training is over" in capsys.readouterr().out


def test_sites_that_were_noted_are_kept_where_the_steps_are_lost(folder, trained):
    (folder / PROGRESS).unlink()
    kept = [{"site": site, "train": 7} for site in SITES]
    RunRecord.read(folder).update(sites=kept)
    assert deploy.main(["run", "federation", "--resume", "runs/r"]) == 0
    assert json.loads((folder / "run.json").read_text())["sites"] == kept


def test_a_run_whose_training_is_not_over_asks_the_superlink(folder, monkeypatch, capsys):
    def stop(folder, run):
        raise FederationError("the SuperLink does not answer")

    monkeypatch.setattr(module, "stop_run", stop)
    assert deploy.main(["run", "federation", "--resume", "runs/r"]) == 1
    assert "does not answer" in capsys.readouterr().err
