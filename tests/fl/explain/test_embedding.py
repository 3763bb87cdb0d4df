"""The picture of a run's test examples: counted by patient, limited, and the same each time."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from support import made_runs

from fl.explain.__main__ import main
from fl.explain.embedding import MOST_POINTS, read_arrangement, sample_by_patient
from fl.reports.arrangement import SVG
from fl.reports.build import write_report
from fl.reports.pages.federation_page import federation_page
from fl.reports.run_files import read_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A rhythm run; its report is written by the tests."""
    return made_runs.make(tmp_path_factory.mktemp("runs"), "rhythm")


@pytest.fixture(scope="module")
def drawn(run):
    assert main(["embed", str(run), "--points", "40", "--perplexity", "5"]) == 0
    return run


def test_no_patient_fills_the_picture():
    patients = np.array(["holter"] * 3000 + [f"p{i}" for i in range(50)])
    chosen, quota = sample_by_patient(patients, 200, 0)
    assert quota == 10
    assert (patients[chosen] == "holter").sum() == 10
    assert len(chosen) == 60
    assert np.array_equal(chosen, np.sort(chosen))


def test_patients_are_drawn_where_one_point_of_each_is_too_much():
    patients = np.array([f"p{i:03}" for i in range(100)])
    chosen, quota = sample_by_patient(patients, 30, 0)
    assert (len(chosen), quota) == (30, 1)
    assert not np.array_equal(chosen, sample_by_patient(patients, 30, 1)[0])


def test_the_same_command_writes_the_same_bytes(drawn, tmp_path):
    files = [drawn / "report" / f"embedding.{suffix}" for suffix in ("svg", "csv", "json")]
    first = [file.read_bytes() for file in files]
    assert main(["embed", str(drawn), "--points", "40", "--perplexity", "5"]) == 0
    assert [file.read_bytes() for file in files] == first
    assert main(["embed", str(drawn), "--points", "40", "--perplexity", "5", "--seed", "1"]) == 0
    assert files[1].read_bytes() != first[1]
    assert main(["embed", str(drawn), "--points", "40", "--perplexity", "5"]) == 0


def test_only_test_examples_are_drawn_and_counted(drawn):
    found = read_arrangement(drawn)
    rows = {(r["source"], r["record"]): r for r in made_runs.table(drawn / "partition.csv")}
    for key in zip(found.source, found.record, found.site, strict=True):
        row = rows[key[:2]]
        assert (row["split"], row["site"]) == ("test", key[2])
    assert found.facts.points == len(found.record) <= 40
    assert found.facts.patients == len(set(found.patient))
    assert found.facts.synthetic


def test_the_picture_is_valid_and_says_how_it_was_made(drawn):
    text = (drawn / SVG).read_text()
    ET.fromstring(text)
    for words in ("perplexity 5", "seed 0", "SYNTHETIC", "t-SNE 1", "by site", "by source"):
        assert words in text
    page = (drawn / "report" / "index.html").read_text()
    assert "How the network arranges" in page
    assert "python -m fl.explain embed" not in page


def test_a_page_without_the_picture_says_how_to_draw_it(run, tmp_path):
    bare = made_runs.Path(made_runs.shutil.copytree(run, tmp_path / "bare"))
    for file in (bare / "report").glob("embedding.*"):
        file.unlink()
    assert "python -m fl.explain embed bare" in federation_page(read_run(bare))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--points", str(MOST_POINTS + 1)], "--points is 5001. Accepted: 1 to 5000."),
        (["--perplexity", "400"], "--perplexity is 400 for"),
    ],
)
def test_a_mistake_is_answered_in_one_line(run, capsys, flags, words):
    assert main(["embed", str(run), *flags]) == 2
    printed = capsys.readouterr().err
    assert words in printed
    assert printed.count("\n") == 1


def test_a_folder_without_a_run_is_a_mistake(tmp_path, capsys):
    assert main(["embed", str(tmp_path)]) == 2
    assert "Name a run directory" in capsys.readouterr().err


@pytest.mark.slow
def test_a_real_hospital_has_the_picture_on_its_own_page(drawn, tmp_path):
    own = made_runs.Path(made_runs.shutil.copytree(drawn, tmp_path / "own"))
    made_runs.change(own / "run.json", lambda facts: facts.update(engine="deployment"))
    write_report(own)
    heading = "How the model arranges this hospital"
    assert heading in (own / "report" / "sites" / "site-1.html").read_text()
    write_report(made_runs.Path(made_runs.shutil.copytree(drawn, tmp_path / "simulated")))
    simulated = tmp_path / "simulated" / "report" / "sites" / "site-1.html"
    assert heading not in simulated.read_text()


def test_the_page_of_a_real_federation_says_that_nothing_was_sent(run, tmp_path):
    bare = made_runs.Path(made_runs.shutil.copytree(run, tmp_path / "bare"))
    for file in (bare / "report").glob("embedding.*"):
        file.unlink()
    made_runs.change(bare / "run.json", lambda facts: facts.update(engine="deployment"))
    assert "is not sent" in federation_page(read_run(bare))


def test_a_run_without_weights_is_a_mistake(run, tmp_path, capsys):
    bare = made_runs.Path(made_runs.shutil.copytree(run, tmp_path / "bare"))
    made_runs.shutil.rmtree(bare / "weights")
    assert main(["embed", str(bare)]) == 2
    assert "the weights are no longer in the run directory" in capsys.readouterr().err


def test_coordinates_and_facts_can_be_read_by_others(drawn):
    rows = made_runs.table(drawn / "report" / "embedding.csv")
    facts = json.loads((drawn / "report" / "embedding.json").read_text())
    assert len(rows) == facts["points"]
    assert {"x", "y", "site", "class"} <= rows[0].keys()
