"""The tutorial's commands run, in its order, and do what it says."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # nine whole commands, each of which has quick tests of its own
ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()


def commands():
    """Every command of the tutorial, as a shell would run it."""
    for kind, text in BLOCK.findall(TUTORIAL):
        if kind == "python":
            yield [sys.executable, "-c", text]
            continue
        for line in text.splitlines():
            program, *words = shlex.split(line.removeprefix("$ "))
            yield [sys.executable, *words] if program == "python" else [program, *words]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """What each command printed; all in one folder that stands for the project's."""
    folder = tmp_path_factory.mktemp("tutorial")
    (folder / "run_sim.py").symlink_to(ROOT / "run_sim.py")
    kept = {k: v for k, v in os.environ.items() if k != "ECG_DATA"}
    printed = []
    for command in commands():
        done = subprocess.run(
            command,
            cwd=folder,
            env=kept | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        printed.append(done.stdout)
    return printed


def test_every_command_runs_and_the_first_says_that_its_records_are_synthetic(outputs):
    assert len(outputs) == len(list(commands())) == 9
    assert "SYNTHETIC DATA" in outputs[0]


def test_the_run_directory_holds_what_the_tutorial_opens(outputs):
    assert {"report", "weights", "run.json"} <= set(outputs[1].split())
    assert {"index.html", "sites", "fedavg-best.safetensors"} <= set(outputs[2].split())


def test_the_record_of_ones_own_is_answered_with_all_nine_classes(outputs):
    thresholds, head, line = outputs[5].splitlines()
    assert thresholds.startswith("thresholds (of all sources)")
    assert head.split()[:3] == ["record", "samples", "predicted"]
    assert len(head.split()) == 3 + 9
    assert line.startswith("my-ecg")


def test_figures_of_where_the_model_looked_are_written(outputs):
    assert "my-ecg" in outputs[7]
    assert ".svg" in outputs[7]
    assert "embedding.svg" in outputs[8]


def test_links_lead_to_files():
    for link in re.findall(r"\]\(([\w./-]+)\)", TUTORIAL):
        assert (ROOT / "docs" / link).is_file(), link


def test_the_transferred_run_says_what_it_started_from_and_whom_that_model_knows(outputs):
    printed = " ".join(outputs[6].split())
    assert "Transfer: Training started from fedavg-best.safetensors: network resnet1d" in printed
    assert (
        "Fresh, because --freeze features trains them from the start: head.weight, head.bias."
        in printed
    )
    assert "the figures of their records are optimistic" in printed
