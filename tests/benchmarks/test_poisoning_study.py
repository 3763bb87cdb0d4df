"""The study of lying sites: each attack does what its row says, and the table compares alike."""

import numpy as np
import pytest
from support.prepared_sites import CLASSES, update
from support.rounds import run

from benchmarks.studies import poisoning
from benchmarks.studies.poisoning import ATTACKS, CHANGES, HONEST, MERGES, Cell, cells, table
from clients.app import app
from fl.messages.flower_arrays import from_array_record, to_array_record
from fl.messages.flower_codec import training_reply, training_request
from fl.messages.job import Job
from server.aggregation.strategies import STRATEGIES
from server.engines.in_process import LocalGrid


def changed(attack):
    """Sent weights of 1, an honest answer of 3, and what the attack makes of it."""
    LocalGrid(app, 1)
    job = Job(strategy="x", config={})
    request = training_request(job, to_array_record({"w": np.ones(2, np.float32)}), 7, 1)
    honest = training_reply(update("site-3", {"w": np.full(2, 3, np.float32)}), request)
    reply = CHANGES[attack](request, None, honest)
    return from_array_record(reply.content["arrays"])["w"], reply.content["metrics"]


@pytest.mark.parametrize(
    ("attack", "weight", "count"),
    [
        ("x1000", 2001.0, 10),
        ("x-9, below the bound", -17.0, 10),
        ("1e38", 1e38, 10),
        ("n = 1e12", 3.0, 10**12),
    ],
)
def test_each_attack_does_what_its_row_says(attack, weight, count):
    found, numbers = changed(attack)
    np.testing.assert_allclose(found, weight, rtol=1e-6)
    assert found.dtype == np.float32
    assert numbers["num-examples"] == numbers["train-patients"] == count
    assert len(numbers["annotated"]) == CLASSES


def test_flipped_labels_train_on_the_opposite_and_validate_honestly(make_job, monkeypatch):
    monkeypatch.setattr(poisoning, "LIARS", ("site-2",))
    watching, _ = run(make_job(3), poisoning.client_with("labels flipped", 1))
    honest, _ = run(make_job(3, name="honest"))
    assert watching.failed == []
    assert watching.rows[0].train_loss != honest.rows[0].train_loss
    assert watching.rows[0].participants == 3


def test_every_row_has_its_attack_and_every_column_its_strategy():
    assert set(CHANGES) == set(ATTACKS)
    assert {settings["strategy"] for settings in MERGES.values()} <= set(STRATEGIES)
    wanted = cells([0, 1])
    assert len(wanted) == len(set(wanted)) == 2 * len(MERGES) * (1 + 2 * len(ATTACKS))


def test_the_table_has_changes_against_the_honest_run_of_the_same_column_and_seed():
    results = {cell.name: {"auroc": 0.8 + cell.seed / 100} for cell in cells([0, 1])}
    results[Cell("krum", "x1000", 2, 1).name] = {"auroc": 0.71}
    results[Cell("krum", "1e38", 1, 0).name] = {"auroc": None}
    results[Cell("krum", "1e38", 1, 1).name] = {"auroc": None}
    lines = table(results, [0, 1]).splitlines()
    assert lines[2].startswith(f"| {HONEST}, macro-AUROC | 0.805 |")
    rows = {line.split(" | ")[0].strip("| "): line for line in lines[3:]}
    assert rows["x1000, 2 of 8"].endswith("| -0.050 (-0.100) |")
    assert rows["1e38, 1 of 8"].endswith("| n/a |")
    assert "| +0.000 (+0.000) |" in rows["labels flipped, 1 of 8"]
