"""The GPU benchmark: a clear message without a GPU, and correct measurements."""

import os
import subprocess
import sys

import numpy as np
from support.made_cohorts import without_features

from benchmarks.speed import gpu
from benchmarks.speed.gpu import WAYS, best, rounds_per_second, speeds, table


def test_without_a_gpu_it_ends_with_one_line():
    done = subprocess.run(
        [sys.executable, gpu.__file__],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(gpu.RUN_SIM.parent)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "torch finds no GPU, so there is nothing to measure.\n"


def test_its_table_has_every_way_of_every_network(few):
    some = without_features(few).take(np.arange(8))
    turns = [speeds("resnet1d", some, "cpu", bf16) for bf16 in (False, True)]
    found = dict.fromkeys(WAYS, best(turns))
    assert best(turns) == turns[1]
    lines = table({"resnet1d": found}, {"cpu": 1.0, "cuda": 4.0}).splitlines()
    assert {line.count("|") for line in lines[:4]} == {6}
    assert lines[-1].endswith("cpu 1.00, cuda 4.00.")


def test_rounds_are_counted_without_the_first(tmp_path, monkeypatch):
    def run(words, **_):
        folder = tmp_path / "cuda"
        folder.mkdir()
        assert words[words.index("--device") + 1] == "cuda"
        (folder / "rounds.csv").write_text("round,seconds\n1,9\n2,0.5\n3,0.25\n4,0.5\n")

    monkeypatch.setattr(subprocess, "run", run)
    assert rounds_per_second("cuda", 4, tmp_path) == 2.0
