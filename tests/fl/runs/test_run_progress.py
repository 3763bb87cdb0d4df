"""How far a run is, whatever its directory holds."""

import json
import os

import pytest
from support.live_runs import LiveRun

from fl.runs.bounded_files import read_bounded, read_json
from fl.runs.run_progress import read_progress, remaining_of
from fl.util.errors import DataError


@pytest.fixture
def run(tmp_path):
    made = LiveRun(tmp_path / "run")
    made.round()
    return made


def test_a_run_that_goes_on_shows_its_round_its_sites_and_the_time_left(run):
    with run.held():
        run.round()
        found = read_progress(run.folder)
    assert (found.state, found.stage, found.rounds) == ("running", "training", 3)
    (training,) = found.trainings
    assert (training.strategy, training.round, training.seconds) == ("fedavg", 2, 4.0)
    assert [site.site for site in training.sites] == ["site-1", "site-2"]
    assert 0 < found.left.seconds <= 4.0


def test_a_run_that_was_killed_is_interrupted_and_says_how_to_go_on(run):
    found = read_progress(run.folder)
    assert found.state == "interrupted"
    assert found.resume == f"python run_sim.py --resume {run.folder}"


def test_the_same_failure_of_a_site_is_one_line(run):
    failures = [{"round": n, "site": "site-2", "reason": "train: no answer"} for n in (1, 2, 2)]
    run.checkpoint("fedavg", failures)
    (one,) = read_progress(run.folder).failures
    assert (one.strategy, one.site, one.times, one.last_round) == ("fedavg", "site-2", 3, 2)
    # Once the training is over, run.json has them, and the checkpoint is not read.
    run.write(failures=[{"strategy": "fedavg"} | failures[0]], trainings={"fedavg": {}})
    assert [f.times for f in read_progress(run.folder).failures] == [1]


def test_of_several_seeds_the_one_that_goes_on_is_shown(tmp_path):
    parent = LiveRun(tmp_path / "run")
    parent.write(seeds=[3, 4, 5])
    first = LiveRun(parent.folder / "seed-3")
    first.write(status="completed")
    second = LiveRun(parent.folder / "seed-4")
    with parent.held(), second.held():
        second.round()
        found = read_progress(parent.folder)
        # The run's own estimate is the same: two rounds, and three of a seed to come.
        facts = second.facts
        assert remaining_of(second.folder, facts["config"], facts).seconds == 5 * 4.0
    states = {part.name: part.state for part in found.parts}
    assert states == {"seed-3": "completed", "seed-4": "running", "seed-5": "not begun"}
    assert found.leaf.folder == second.folder
    assert found.left.seconds == pytest.approx(5 * 4.0, abs=4.0)


HOSTILE = "<script>alert(1)</script>"


@pytest.mark.parametrize(
    ("table", "damaged"),
    [
        ("", 0),
        ("strategy,round\n", 0),
        ("strategy,round,seconds\nfedavg,1,nan", 4),
        (f"strategy,round,seconds\n{HOSTILE},1,1e300\n", 4),
        ("strategy,round\nfedavg,1e99\nfedavg,-1\n,1\nfedavg", 4),
        ("strategy,round\nfedavg," + "9" * 5000, 1),
        ("strategy,round\n\0\0fedavg,1\n", 4),
        ('strategy,round\n"' + "x" * 200_000, 1),
    ],
)
def test_a_damaged_table_costs_its_cells_and_they_are_counted(run, table, damaged):
    (run.folder / "rounds.csv").write_text(table)
    found = read_progress(run.folder)
    assert found.state == "interrupted"
    assert found.problems == ()
    assert (found.damaged >= 1) == (damaged >= 1)
    for training in found.trainings:
        assert len(training.strategy) <= 80
        assert all(row.val_loss is None for row in training.rows)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1]",
        b"[" * 100_000,
        b'{"status": NaN}',
        b"\xff\xfe\x00",
        json.dumps({"status": "running", "config": [], "seeds": 3, "sites": {}}).encode(),
        json.dumps({"status": "running", "seeds": ["../../x", None], "failures": [1]}).encode(),
        json.dumps({"status": "failed", "error": 3, "machine": 1, "trainings": []}).encode(),
    ],
)
def test_whatever_run_json_holds_the_page_has_something_to_show(run, content):
    (run.folder / "run.json").write_bytes(content)
    found = read_progress(run.folder)
    assert found.state in ("unreadable", "interrupted", "failed")
    assert found.parts == ()


def test_links_and_pipes_are_not_read(run, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text((run.folder / "rounds.csv").read_text())
    (run.folder / "rounds.csv").unlink()
    (run.folder / "rounds.csv").symlink_to(secret)
    found = read_progress(run.folder)
    assert found.trainings == ()
    assert "rounds.csv: cannot be read (a link)" in found.problems[0]
    os.mkfifo(run.folder / "pipe")
    with pytest.raises(DataError, match="is no regular file"):
        read_bounded(run.folder / "pipe")
    with pytest.raises(DataError, match="more than 10 bytes"):
        read_json(run.folder / "run.json", most=10)
