"""How far a training is comes back from disk as it was, and never half."""

import json

import numpy as np
import pytest

from fl.config.run_config import RunConfig
from fl.evaluation.decisions.decision_rule import DecisionRule
from fl.evaluation.decisions.platt_scaling import PlattMap
from fl.messages.job import Job
from fl.runs.history_tables import RoundRow, SiteRow
from fl.training.state_dict import load_weights
from fl.util.errors import FederationError
from server.rounds import checkpoints
from server.rounds.checkpoints import (
    TrainingProgress,
    load_progress,
    save_progress,
    save_trained,
)

ROUND = RoundRow(
    strategy="fedavg",
    round=1,
    seconds=0.5,
    participants=2,
    failures=1,
    train_loss=0.25,
    val_loss=None,
    val_macro_f1=1 / 3,
    val_macro_auroc=0.75,
    n_train=7,
)
SITE = SiteRow(
    strategy="fedavg",
    round=1,
    site="site-1",
    split="val",
    n_records=3,
    loss=None,
    macro_f1=None,
    macro_auroc=0.75,
)


def progress(number):
    weights = {"a": np.full((2, 2), number, np.float32), "steps": np.array(number, np.int64)}
    return TrainingProgress(
        weights=weights,
        best_weights={k: v - 1 for k, v in weights.items()},
        round=number,
        best_round=number - 1,
        best_score=1 / 3,
        best_by="macro_auroc",
        rule=DecisionRule(
            thresholds={"pooled": {"AF": 0.1234567}},
            calibration={"pooled": {"AF": PlattMap(slope=0.9, intercept=-0.1)}},
            alone="NSR",
            otherwise="",
        ),
        steps=10 * number,
        n_seen={"site-1": 30},
        memory={"m_t/a": np.full(2, 0.5)},
        extra={"a": np.full((2, 2), -0.5, np.float32)},
        recent={"10/a": np.ones(2, np.float32), "9/a": np.zeros(2, np.float32)},
        averaged=3,
        round_rows=[ROUND],
        site_rows=[SITE],
        failures=[{"round": 1, "site": "site-2", "reason": "train: lost"}],
        unvalidated={"participants": 2, "train_loss": 0.5, "seconds": 1.25},
    )


ARRAYS = ("weights", "best_weights", "memory", "extra", "recent")


def arrays(of):
    return {(k, name): (v.dtype, v.tolist()) for k in ARRAYS for name, v in getattr(of, k).items()}


def plain(of):
    return {k: v for k, v in vars(of).items() if k not in ARRAYS}


def test_progress_comes_back_as_it_was(tmp_path):
    save_progress(tmp_path, progress(7))
    found = load_progress(tmp_path)
    assert plain(found) == plain(progress(7))
    assert arrays(found) == arrays(progress(7))


def test_entries_come_back_in_their_order(tmp_path):
    saved = progress(7)
    names = ["b.weight", "a", "steps", "a.bias"]
    saved.weights = {name: np.zeros(n + 1, np.float32) for n, name in enumerate(names)}
    save_progress(tmp_path, saved)
    assert list(load_progress(tmp_path).weights) == names


def test_the_last_round_counts_and_two_are_kept(tmp_path):
    for number in (8, 9, 10):
        save_progress(tmp_path, progress(number))
    assert load_progress(tmp_path).round == 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000009", "000010"]


def test_a_round_is_saved_once_it_is_merged_and_again_once_it_is_validated(tmp_path):
    merged, validated = progress(7), progress(7)
    validated.unvalidated = {}
    assert (merged.validated_rounds, validated.validated_rounds) == (6, 7)
    save_progress(tmp_path, merged)
    save_progress(tmp_path, validated)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000007", "000007-validated"]
    assert load_progress(tmp_path).validated_rounds == 7
    save_progress(tmp_path, progress(8))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000007-validated", "000008"]
    assert (load_progress(tmp_path).round, load_progress(tmp_path).validated_rounds) == (8, 7)


def test_there_is_nothing_to_load_before_the_first_round(tmp_path):
    assert load_progress(tmp_path) is None


@pytest.mark.parametrize("damage", ["missing file", "cut file", "unknown field"])
def test_a_checkpoint_of_another_version_or_a_damaged_one_is_named(tmp_path, damage):
    save_progress(tmp_path, progress(3))
    folder = tmp_path / "000003"
    if damage == "missing file":
        (folder / "recent.safetensors").unlink()
    elif damage == "cut file":
        (folder / "last.safetensors").write_bytes(b"1234")
    else:
        saved = json.loads((folder / "state.json").read_text())
        saved["state"]["mood"] = 1
        (folder / "state.json").write_text(json.dumps(saved))
    with pytest.raises(FederationError, match=r"000003 is not a checkpoint that this version"):
        load_progress(tmp_path)


def test_a_save_that_fails_leaves_the_last_round_as_it_was(tmp_path, monkeypatch):
    save_progress(tmp_path, progress(1))

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoints, "save_weights", full)
    with pytest.raises(OSError, match="No space"):
        save_progress(tmp_path, progress(2))
    assert load_progress(tmp_path).round == 1
    assert [path.name for path in tmp_path.iterdir()] == ["000001"]


def test_a_training_begins_before_its_first_round():
    new = TrainingProgress(weights={}, best_weights={})
    assert (new.round, new.best_round, new.steps, new.validated_rounds) == (0, 0, 0, 0)
    assert new.memory_saved
    assert new.best_by == "", "any round is better"


def test_a_save_makes_the_folders_it_needs_and_leaves_nothing_else_in_them(tmp_path):
    folder = tmp_path / "checkpoint" / "fedavg"
    save_progress(folder, progress(1))
    save_progress(folder, progress(2))
    assert sorted(path.name for path in folder.iterdir()) == ["000001", "000002"]


def test_a_training_ends_with_its_best_and_its_last_weights(tmp_path):
    job = Job(config=RunConfig(), strategy="fedavg")
    save_trained(tmp_path, job, "fedavg", progress(7))
    save_trained(tmp_path, job, "site-1", progress(3), kinds=("best",))
    files = {path.name: load_weights(path)["steps"] for path in (tmp_path / "weights").iterdir()}
    assert files == {
        "fedavg-last.safetensors": 7,
        "fedavg-best.safetensors": 6,
        "site-1-best.safetensors": 2,
    }
