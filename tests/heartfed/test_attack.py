"""`heartfed runs attack`: what it writes, what it refuses, and what the page shows of it."""

import json
import shutil

import html5lib
import pytest
from support import made_runs

import run_sim
from fl.privacy.attacks.attack_report import ATTACK, ATTACKS, EVERY, FINAL, OWN, SUM, UPDATE
from fl.reports.attack_text import read_attack
from fl.reports.pages.federation_page import federation_page
from fl.reports.pages.page_files import write_index
from fl.reports.run_files import read_run
from fl.util.errors import DataError
from heartfed.cli import main

FLAGS = ("--shadows", "2", "--shadow-epochs", "1", "--inversions", "0")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of three hospitals, each with a model of its own in the end."""
    out = tmp_path_factory.mktemp("runs")
    settings = ["--model", "cnn_simple", "--strategy", "finetune", "--synthetic-records", "60"]
    flags = [*made_runs.QUICK, *settings, "--out", str(out), "--name", "small"]
    assert run_sim.main(flags) == 0
    return out / "small"


@pytest.fixture(scope="module")
def attacked(run):
    """The same run, attacked."""
    write_index(read_run(run))
    assert main(["runs", "attack", str(run), *FLAGS]) == 0
    return run


def test_every_target_and_attack_has_a_row_over_all_hospitals_and_for_each(attacked):
    report = read_attack(attacked)
    for site in (EVERY, "site-1", "site-2", "site-3"):
        found = {(row.target, row.attack) for row in report.rows_at(site)}
        assert {(FINAL, ATTACKS[0]), (FINAL, "LiRA"), (UPDATE, "LiRA, offline")} <= found
        assert {(target, "fall of the loss") for target in (UPDATE, SUM)} <= found
    own = [row for row in report.rows if row.target == OWN]
    named = [reason for reason in report.not_measured if reason.startswith("own model")]
    assert len(own) + len(named) >= 1
    assert report.round == 1
    rows = made_runs.table(attacked / "partition.csv")
    train = {row["patient"] for row in rows if row["split"] == "train"}
    others = {r["patient"] for r in rows if r["site"].startswith("site")} - train
    assert (report.members, report.non_members) == (len(train), len(others))
    whole = report.rows_at(EVERY)[0].success
    assert whole.members + whole.non_members + whole.unmatched == len(train | others)


def test_no_patient_and_no_record_is_named(attacked):
    text = (attacked / ATTACK).read_text() + (attacked / "report" / "index.html").read_text()
    rows = made_runs.table(attacked / "partition.csv")
    for row in rows:
        assert row["patient"] not in text
        assert f'"{row["record"]}"' not in text


def test_the_page_has_a_section_with_the_figures(attacked):
    page = (attacked / "report" / "index.html").read_text()
    report = read_attack(attacked)
    html5lib.HTMLParser(strict=True).parse(page)
    assert 'href="#attack"' in page
    assert "Not measured for this run" not in page
    assert f"{report.smallest}, which has the fewest training patients" in page
    value = report.rows_at(EVERY)[0].success.auc.value
    assert f"{value:.3f}".lstrip("0") in page


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--shadows", "3"], "--shadows is 3. Give an even number"),
        (["--round", "9"], "--round is 9. The run's rounds are 1 to 2"),
        (["--inversions", "1"], "--inversions is 1. Give at least 2"),
        (["--delta", "2"], "--delta is 2"),
        (["--strategy", "fedprox"], "Federated trainings of this run: finetune"),
        (["--shadow-model", "resnt"], "resnt"),
    ],
)
def test_a_mistake_costs_one_line(run, capsys, flags, words):
    assert main(["runs", "attack", str(run), *flags]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.strip().splitlines()) == 1


def test_runs_that_cannot_be_attacked_say_why(run, tmp_path, capsys):
    deployed, bare = tmp_path / "deployed", tmp_path / "bare"
    for copy in (deployed, bare):
        shutil.copytree(run, copy)
    made_runs.change(deployed / "run.json", lambda facts: facts.update(engine="deployment"))
    for path in (bare / "weights").glob("*-best.safetensors"):
        path.unlink()
    assert main(["runs", "attack", str(deployed)]) == 2
    assert "a hospital's recordings never leave it" in capsys.readouterr().err
    assert main(["runs", "attack", str(bare)]) == 2
    assert "is missing" in capsys.readouterr().err


def test_a_damaged_file_is_one_line_and_an_unattacked_run_says_how(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / ATTACK).unlink(missing_ok=True)
    assert "heartfed runs attack copy" in federation_page(read_run(copy))
    (copy / ATTACK).write_text(json.dumps({"rows": [{"target": "<b>"}]}))
    with pytest.raises(DataError, match=r"attack\.json: .* Measure it again"):
        federation_page(read_run(copy))
