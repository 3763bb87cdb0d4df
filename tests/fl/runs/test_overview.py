"""A list of runs: what each of them is, reached or failed of, from its own files."""

import json
import shutil

import pytest
from support import made_runs

from fl.runs.overview import Score, differing_settings, find_run, list_runs, read_overview
from fl.util.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One completed run, made once."""
    return made_runs.make(tmp_path_factory.mktemp("made"), "holdout")


@pytest.fixture
def runs(made, tmp_path):
    """A folder with a completed run, one that failed, a repeated one and a damaged one."""
    for name in ("good", "failed", "repeated", "damaged"):
        shutil.copytree(made, tmp_path / name)
    (tmp_path / "empty").mkdir()
    change = made_runs.change
    change(tmp_path / "failed" / "run.json", lambda run: run.update(status="failed", error="no"))
    made_runs.repeat(tmp_path / "repeated", made)
    change(tmp_path / "repeated" / "run.json", lambda run: run.update(seeds=[0, 1], started="2020"))
    (tmp_path / "damaged" / "run.json").write_text("{")
    return tmp_path


def test_a_run_is_known_by_its_settings_and_its_result(runs, made):
    worst = {"site": "site-1", "macro_f1": 0.25}  # the run's own sites have too few patients
    made_runs.change(
        runs / "good" / "summary.json",
        lambda found: found["strategies"]["fedavg"].update(worst_site=worst),
    )
    run = read_overview(runs / "good")
    result = made_runs.facts(made / "summary.json")["strategies"]["fedavg"]
    assert (run.status, run.task, run.strategies, run.main) == (
        *("completed", "rhythm"),
        *(("fedavg",), "fedavg"),
    )
    assert run.synthetic == ("synthetic", "synthetic-2lead")
    assert run.headline == Score(**result["central"]["macro_f1"])
    assert run.scores["fedavg"]["unseen"] == Score(**result["unseen"]["macro_f1"])
    assert run.scores["fedavg"]["worst site"].value == 0.25


def test_the_strategy_of_a_comparison_is_never_a_baseline(made, tmp_path):
    shutil.copytree(made, tmp_path / "run")
    made_runs.compare(tmp_path / "run")
    made_runs.change(
        tmp_path / "run" / "run.json", lambda run: run["config"].update(strategy="local")
    )
    run = read_overview(tmp_path / "run")
    assert run.strategies == ("local", "pooled", "fedavg", "fedprox")
    assert run.main == "fedavg"


def test_a_run_that_failed_says_why_and_has_no_figures(runs):
    run = read_overview(runs / "failed")
    assert (run.status, run.error, run.headline) == ("failed", "no", None)
    assert run.strategies == ("fedavg",)


def test_a_repeated_run_has_the_range_of_its_seeds(runs):
    run = read_overview(runs / "repeated")
    assert run.seeds == (0, 1)
    assert run.headline == Score(value=0.4123, low=0.4012, high=0.4234)


def test_runs_are_listed_by_date_and_a_damaged_one_hides_no_other(runs):
    found = {run.folder.name: run.status for run in list_runs(runs)}
    assert found == {
        "damaged": "unreadable",
        "repeated": "completed",
        "failed": "failed",
        "good": "completed",
    }
    assert list(found)[:2] == ["damaged", "repeated"]
    with pytest.raises(ConfigError, match="no such folder"):
        list_runs(runs / "nowhere")


def test_a_run_is_found_by_its_path_or_its_name(runs):
    assert find_run("good", runs) == runs / "good"
    assert find_run(str(runs / "good"), runs / "nowhere") == runs / "good"
    with pytest.raises(ConfigError, match=r"Did you mean good\?"):
        find_run("goood", runs)


def test_only_settings_that_differ_are_named(runs):
    made_runs.change(runs / "failed" / "run.json", lambda run: run["config"].update(mu=0.5))
    one, other = read_overview(runs / "good"), read_overview(runs / "failed")
    assert differing_settings([one, other]) == {"mu": [one.config["mu"], 0.5]}


@pytest.mark.parametrize("content", ["", "[]"])
def test_a_file_that_is_no_object_is_named(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(DataError, match=r"run\.json"):
        read_overview(tmp_path)


def test_a_summary_without_figures_shows_none(runs):
    def empty(summary):
        result = summary["strategies"]["fedavg"]
        result |= {"central": None, "unseen": None, "site_mean": None, "worst_site": None}

    made_runs.change(runs / "good" / "summary.json", empty)
    run = read_overview(runs / "good")
    assert (run.headline, json.dumps(dict(run.scores))) == (None, '{"fedavg": {}}')
