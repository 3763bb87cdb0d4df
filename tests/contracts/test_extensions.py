"""CONTRIBUTING.md's examples of parts from outside: each one class and one line, in one run."""

import json
import re
from pathlib import Path

import pytest

import run_sim
from clients.local_objectives import LOCAL_OBJECTIVES
from fl.datasets import DATASETS
from fl.models import MODELS
from fl.training.augmentation import AUGMENTATIONS
from partitions.schemes import PARTITIONERS
from server.aggregation.strategies import STRATEGIES

ROOT = Path(__file__).parents[2]
TABLES = (DATASETS, MODELS, AUGMENTATIONS, PARTITIONERS, STRATEGIES, LOCAL_OBJECTIVES)


@pytest.fixture
def extended(monkeypatch):
    """The tables with the examples' lines, which are taken out again."""
    before = [dict(table) for table in TABLES]
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for example in re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        exec(example, {"__name__": "an_example"})
    yield [table.keys() - kept.keys() for table, kept in zip(TABLES, before, strict=True)]
    for table, kept in zip(TABLES, before, strict=True):
        table.clear()
        table.update(kept)


def test_a_data_set_a_model_a_partitioner_a_strategy_and_an_augmentation_from_outside_run_together(
    extended, tmp_path
):
    assert [len(added) for added in extended] == [1] * len(TABLES)
    data, model, augmentation, partitioner, strategy, objective = (min(a) for a in extended)
    assert strategy == objective
    flags = ["--sources", data, "--model", model, "--augment", augmentation, "--seed", "3"]
    flags += ["--partition", partitioner, "--strategy", strategy, "--clients", "2"]
    flags += ["--rounds", "2", "--local-epochs", "1", "--engine", "local", "--workers", "1"]
    assert run_sim.main([*flags, "--quiet", "--out", str(tmp_path), "--name", "run"]) == 0
    folder = tmp_path / "run"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["strategies"][strategy]["gradient_steps"] > 0
    facts = json.loads((folder / "run.json").read_text())
    assert [entry["source"] for entry in facts["data"]] == [data]
    assert (folder / "weights" / f"{strategy}-last.safetensors").is_file()
    assert (folder / "report" / "index.html").is_file()
