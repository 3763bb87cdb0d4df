"""What a strategy remembers is saved with tested versions of Flower, and else refused openly."""

from pathlib import Path

import pytest
from flwr.app import ConfigRecord
from support.rounds import digest, run

from fl.messages.flower_arrays import to_array_record
from fl.util import tested_versions
from fl.util.errors import ConfigError
from server.aggregation import flower_internals
from server.aggregation.selected_nodes import SelectedNodes, configure_round
from server.aggregation.strategies import STRATEGIES
from server.rounds import round_loop
from server.rounds.checkpoints import load_progress

REMEMBERING = [name for name, rule in STRATEGIES.items() if rule.remembers]


@pytest.fixture(autouse=True)
def _nothing_reported(monkeypatch):
    for name in (tested_versions.PUBLIC_ONLY, tested_versions._REPORTED):
        monkeypatch.setenv(name, "")


@pytest.fixture
def _untested_flower(monkeypatch):
    monkeypatch.setattr(flower_internals, "FLOWER_VERSIONS", ("0.0.0",))


class Stopped(BaseException):
    """Like an interrupt, which nothing catches."""


def interrupted(job, monkeypatch):
    """A run that stops when its second round is merged."""
    real = round_loop.save_progress

    def save(folder, progress):
        real(folder, progress)
        if progress.round == 2:
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(round_loop, "save_progress", save)
        with pytest.raises(Stopped):
            run(job)


def checkpoint(job):
    return load_progress(Path(job.workspace) / "checkpoint" / job.strategy)


@pytest.mark.parametrize("name", REMEMBERING)
def test_a_strategy_that_remembers_is_resumed_with_its_memory(make_job, monkeypatch, name):
    whole = make_job(2, name="whole", strategy=name, rounds=3)
    run(whole)
    job = make_job(2, name="stopped", strategy=name, rounds=3)
    interrupted(job, monkeypatch)
    assert checkpoint(job).memory
    run(job)
    assert digest(job) == digest(whole)


@pytest.mark.usefixtures("_untested_flower")
def test_with_another_flower_one_line_says_that_the_run_cannot_be_resumed(
    make_job, monkeypatch, capsys
):
    job = make_job(2, strategy="fedadam", rounds=3)
    interrupted(job, monkeypatch)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("flwr ")]
    (line,) = lines
    assert "(tested: 0.0.0): what fedadam remembers is not saved" in line
    assert checkpoint(job).memory == {}
    with pytest.raises(ConfigError, match=r"^--resume: fedadam remembers .* Start a new run"):
        run(job)


def test_a_checkpoint_of_another_flower_is_not_resumed_by_a_tested_one(make_job, monkeypatch):
    job = make_job(2, strategy="fedavgm", rounds=3)
    with monkeypatch.context() as patch:
        patch.setattr(flower_internals, "FLOWER_VERSIONS", ("0.0.0",))
        interrupted(job, patch)
    with pytest.raises(ConfigError, match="fedavgm remembers"):
        run(job)


@pytest.mark.usefixtures("_untested_flower")
@pytest.mark.parametrize("name", ["fedadam", "fedavgm"])
def test_with_another_flower_a_strategy_trains_as_flower_wrote_it(make_job, name):
    watching, summary = run(make_job(2, strategy=name, rounds=2))
    assert watching.failed == []
    assert summary.rounds == 2


@pytest.mark.usefixtures("_untested_flower")
def test_with_another_flower_a_strategy_without_memory_is_resumed(make_job, monkeypatch, capsys):
    whole = make_job(2, name="whole", rounds=3)
    run(whole)
    job = make_job(2, name="stopped", rounds=3)
    interrupted(job, monkeypatch)
    run(job)
    assert digest(job) == digest(whole)
    assert "not saved" not in capsys.readouterr().err


@pytest.mark.usefixtures("_untested_flower")
def test_with_another_flower_no_attribute_of_a_strategy_is_touched():
    class Untouchable:
        current_arrays = m_t = v_t = momentum_vector = property(
            lambda self: pytest.fail("an undocumented attribute was read"),
            lambda self, value: pytest.fail("an undocumented attribute was written"),
        )

    strategy = Untouchable()
    flower_internals.forget_merged_arrays("fedadam", strategy)
    assert flower_internals.strategy_memory("fedadam", strategy) == {}
    flower_internals.restore_memory("fedadam", strategy, {"m_t/w": None})


def test_a_strategy_sees_the_selected_nodes_and_can_send_nothing():
    nodes = SelectedNodes([1007, 1003])
    assert list(nodes.get_node_ids()) == [1007, 1003]
    for send in (nodes.push_messages, nodes.pull_messages, nodes.send_and_receive):
        with pytest.raises(RuntimeError, match="the round loop sends"):
            send([])


def test_every_selected_node_is_asked_once(make_job):
    run(make_job(2, rounds=1))  # Flower makes messages only within a run
    strategy = STRATEGIES["fedprox"].make(make_job(2, name="x", strategy="fedprox", mu=0.5).config)
    requests = configure_round(strategy, 3, to_array_record({}), ConfigRecord(), [1007, 1003])
    assert sorted(requests) == [1003, 1007]
    config = requests[1007].content["config"]
    assert (config["server-round"], config["proximal-mu"]) == (3, 0.5)
