"""The benchmark of several revisions of the project on one job."""

import pytest

from benchmarks.speed.revisions import Took, main, run_once, table

PROGRAM = """
import pathlib, sys, time
time.sleep(0.6)  # so that its memory is read
folder = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
assert folder.is_dir()
print(pathlib.Path.cwd().name, "was asked for", sys.argv[1:3])
sys.exit(int(sys.argv[2]))
"""


@pytest.fixture
def checkouts(tmp_path):
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run_sim.py").write_text(PROGRAM)
    return [f"--checkout={name}={tmp_path / name}" for name in ("before", "after")]


def test_every_turn_is_compared_with_the_first_revision_of_that_turn():
    found = {"one": [Took(100, 2**30), Took(200, 2**31)], "two": [Took(50, 2**30)] * 2}
    assert table(found)[2:] == [
        "| one | 100, 200 | 1.00 | 1.00, 2.00 | 1.00 |",
        "| two | 50, 50 | 0.38 | 1.00, 1.00 | 0.75 |",
    ]


def test_all_revisions_run_as_often_as_asked(checkouts, tmp_path, capsys):
    results = tmp_path / "results.md"
    main([*checkouts, "--turns=3", f"--results={results}", "--", "--clients", "0"])
    order = [line.split(":")[0] for line in capsys.readouterr().out.splitlines()[:6]]
    assert order == ["before", "after", "after", "before", "before", "after"]
    assert "| before | " in results.read_text()


def test_a_run_that_fails_ends_the_benchmark_with_what_it_said(tmp_path, checkouts):
    with pytest.raises(SystemExit, match=r"(?s)exit code 3.*before was asked for"):
        run_once(tmp_path / "before", ["--clients", "3"])


@pytest.mark.parametrize(
    ("word", "reason"),
    [("other={}", "holds no run_sim.py"), ("other", "takes NAME=FOLDER"), ("other=", "takes NAME")],
)
def test_a_folder_without_the_program_is_refused(tmp_path, capsys, word, reason):
    with pytest.raises(SystemExit):
        main([f"--checkout={word.format(tmp_path)}"])
    assert reason in capsys.readouterr().err
