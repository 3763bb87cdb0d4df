"""Mistakes around a run are one line each, and leave no folder behind."""

import json
import os

import pytest
from support.small_records import annotate, write

import run_sim
from fl.runs.run_lock import run_lock

QUICK = [
    *("--engine", "local", "--workers", "1", "--rounds", "1", "--local-epochs", "1"),
    *("--model", "resnet1d", "--partition", "patients", "--quiet", "--no-pages"),
]


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory):
    """Folders of hospitals: `a` and its copy, and a small one with a comma in its path."""
    root = tmp_path_factory.mktemp("hospitals")
    for name, patients, seed in (("a", 8, 0), ("copy", 8, 0), ("with,comma", 5, 50)):
        lines = ["record,patient,labels"]
        for i in range(patients):
            write(root / name, f"r{i}", leads=("II",), fs=250, seed=seed + i)
            lines.append(f"r{i},p{i},{('AF', 'NSR')[i % 2]}")
        (root / name / "labels.csv").write_text("\n".join(lines) + "\n")
    return root


def run(tmp_path, sources, *flags):
    given = ["--data-dir", str(tmp_path), "--sources", sources, "--out", str(tmp_path / "runs")]
    return run_sim.main([*QUICK, *given, *flags])


def a(hospitals):
    return f"a={hospitals}/a"


@pytest.mark.parametrize(
    ("sources", "flags", "problem"),
    [
        ("a={0}/a,b={0}/copy", ["--clients", "2"], "b: each of its recordings"),
        ("a={0}/a", ["--clients", "500"], "--clients: a gets 500 sites, but has"),
        ("a={0}/a", ["--clients", "500", "--seeds", "0,1"], "--clients: a gets 500 sites"),
        ("c={0}/with,comma", ["--clients", "1"], "has a comma, which separates sources. Quote"),
        ('c="{0}/with,comma', ["--clients", "1"], "a quotation mark is not closed"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_folder(
    hospitals, tmp_path, capsys, sources, flags, problem
):
    assert run(tmp_path, sources.format(hospitals), *flags) == 2
    printed = capsys.readouterr().err
    assert problem in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_mistake_leaves_the_folders_of_other_runs(hospitals, tmp_path):
    (tmp_path / "runs" / "other").mkdir(parents=True)
    assert run(tmp_path, a(hospitals), "--clients", "500") == 2
    assert os.listdir(tmp_path / "runs") == ["other"]


def test_a_quoted_path_with_a_comma_is_a_source(hospitals, tmp_path):
    sources = f'c="{hospitals}/with,comma",{a(hospitals)}'
    assert run(tmp_path, sources, "--clients", "2", "--name", "run") == 0
    data = json.loads((tmp_path / "runs" / "run" / "run.json").read_text())["data"]
    assert [(d["source"], d["recordings"]) for d in data] == [("c", 5), ("a", 8)]


def test_a_live_run_cannot_be_resumed(hospitals, tmp_path, capsys):
    folder = tmp_path / "runs" / "run"
    assert run(tmp_path, a(hospitals), "--clients", "1", "--name", "run") == 0
    before = (folder / "run.json").read_bytes()
    with run_lock(folder):
        assert run_sim.main(["--resume", str(folder), "--quiet", "--no-pages"]) == 2
    assert "another process is writing there" in capsys.readouterr().err
    assert (folder / "run.json").read_bytes() == before
    assert run_sim.main(["--resume", str(folder), "--quiet", "--no-pages"]) == 0


def test_a_run_counts_beats_without_a_class_and_records_without_a_row(tmp_path, capsys):
    folder = tmp_path / "ward"
    lines = ["record,patient"]
    for i in range(5):
        write(folder, f"h{i}", leads=("II",), fs=250, seconds=12, seed=i)
        annotate(folder / f"h{i}", "NV?NVNV", step=300)
        lines.append(f"h{i},p{i}")
    write(folder, "unlisted", leads=("II",), fs=250, seed=9)
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    flags = ["--task", "beat", "--clients", "1", "--site-folds", "0", "--name", "run"]
    assert run(tmp_path, f"ward={folder}", *flags) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Records: 5 used; left out: ward 1 no-row" in printed
    assert "Beats without a class of the task, left out: ward 5 ?." in printed
    data = json.loads((tmp_path / "runs" / "run" / "run.json").read_text())["data"]
    assert data[0]["excluded"] == {"no-row": ["unlisted"]}
    assert data[0]["beats_without_class"] == {"?": 5}
