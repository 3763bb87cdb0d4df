"""`heartfed runs`: the list, the tables side by side, and one run's tables again."""

import shutil

import pytest
from support import made_runs

from heartfed.cli import main


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Two runs, a repeated one and one that failed."""
    out = tmp_path_factory.mktemp("runs")
    made_runs.make(out, "rhythm")
    made_runs.make(out, "beat")
    for name in ("failed", "repeated"):
        shutil.copytree(out / "rhythm", out / name)
    made_runs.change(
        out / "failed" / "run.json", lambda run: run.update(status="failed", error="no quorum")
    )
    made_runs.repeat(out / "repeated", out / "rhythm")
    made_runs.change(out / "repeated" / "seeds.json", lambda seeds: seeds.update(differences=[]))
    made_runs.change(out / "repeated" / "run.json", lambda run: run.update(seeds=[0, 1]))
    return out


@pytest.fixture
def printed(out, capsys):
    """What the command prints."""

    def run(*arguments, code=0):
        assert main(["runs", *arguments, "--out", str(out)]) == code
        captured = capsys.readouterr()
        return captured.out if code == 0 else captured.err

    return run


def lines_of(text):
    return {line.split()[0]: " ".join(line.split()) for line in text.splitlines() if line.split()}


def test_the_list_has_a_line_for_every_run(printed, out):
    lines = lines_of(printed("list"))
    central = made_runs.facts(out / "rhythm" / "summary.json")["strategies"]["fedavg"]["central"]
    figure = f"{central['macro_f1']['value']:.3f}"
    assert "completed rhythm fedavg" in lines["rhythm"]
    assert figure.lstrip("0") in lines["rhythm"]
    assert lines["rhythm"].endswith("SYNTHETIC")
    assert "completed beat fedavg" in lines["beat"]
    assert "failed rhythm fedavg n/a" in lines["failed"]
    assert ".412 [.401, .423]" in lines["repeated"]


def test_a_folder_without_runs_says_so(capsys, tmp_path):
    assert main(["runs", "list", "--out", str(tmp_path)]) == 0
    assert "has no run directory yet" in capsys.readouterr().out


def test_runs_stand_side_by_side_with_the_settings_that_differ(printed):
    text = printed("compare", "rhythm", "beat")
    lines = lines_of(text)
    assert lines["task"] == "task rhythm beat"
    assert lines["rounds"] == "rounds 2 1"
    assert "clients" not in lines
    assert lines["central"].startswith("central")
    assert "SYNTHETIC DATA" in text


@pytest.mark.slow
def test_a_page_that_compares_them_can_be_written_too(printed, out, tmp_path):
    page = tmp_path / "both.html"
    assert f"Page: {page}" in printed("compare", "rhythm", str(out / "beat"), "--page", str(page))
    assert "rhythm" in page.read_text()


def test_a_runs_tables_are_shown_again(printed):
    text = printed("show", "rhythm")
    for words in ("completed", "Examples per site", "fedavg: test, weights of", "Central test"):
        assert words in text
    assert text.count("SYNTHETIC DATA") > 1
    repeated = printed("show", "repeated")
    assert "over seeds 0, 1" in " ".join(repeated.split())
    assert "SYNTHETIC DATA" in repeated


def test_a_run_that_failed_says_why_and_how_to_continue_it(printed, out):
    text = " ".join(printed("show", "failed").split())
    assert "It ended with: no quorum" in text
    assert f"heartfed simulate --resume {out / 'failed'}" in text


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["show", "rythm"], "Did you mean rhythm?"),
        (["compare", "rhythm"], "name two runs or more"),
    ],
)
def test_a_mistake_is_answered_in_one_line(printed, arguments, wanted):
    text = printed(*arguments, code=2)
    assert text.startswith("heartfed runs: error: ")
    assert wanted in text
    assert text.count("\n") == 1
