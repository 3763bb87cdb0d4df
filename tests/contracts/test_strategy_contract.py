"""What every entry of STRATEGIES keeps to, whatever its rule."""

import copy

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from fl.config.run_config import RunConfig
from fl.messages.flower_arrays import from_array_record, to_array_record
from fl.messages.flower_codec import CONFIG, training_reply
from fl.messages.payloads import TrainingReply
from server.aggregation.flower_internals import (
    SelectedNodes,
    configure,
    restore_memory,
    strategy_memory,
)
from server.aggregation.strategies import STRATEGIES

START = {"body": np.zeros(3, dtype=np.float32), "head.bias": np.ones(2, dtype=np.float32)}
ADAPTIVE = {"fedadagrad", "fedadam", "fedyogi"}  # take a step of their own size
AVERAGING = sorted(name for name, rule in STRATEGIES.items() if rule.averages)


@pytest.fixture(autouse=True)
def _a_server(monkeypatch):
    for field in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, field, 1)


def reply(site, value, n=10):
    """What a site sends whose weights are all `value`."""
    trained = TrainingReply(
        site=site,
        weights={k: np.full_like(v, value) for k, v in START.items()},
        n_records=n,
        annotated=(n, n),
        recorded=(n,),
        loss_sum=1.0,
        n_seen=n,
        steps=1,
    )
    request = Message(RecordDict({CONFIG: ConfigRecord()}), 7, MessageType.TRAIN)
    return training_reply(trained, request)


def merge(strategy, replies, start=None):
    """One round: the weights after it."""
    begun = START if start is None else start
    list(configure(strategy, 1, to_array_record(begun), ConfigRecord(), SelectedNodes([1, 2, 3])))
    # Copies, because some of Flower's strategies take the arrays out of the replies.
    result, _ = strategy.aggregate_train(1, copy.deepcopy(replies))
    return from_array_record(result)


def new(name):
    return STRATEGIES[name].make(RunConfig(strategy=name))


@pytest.mark.parametrize("name", sorted(STRATEGIES.keys() - ADAPTIVE))
def test_equal_sites_give_plain_training(name):
    found = merge(new(name), [reply(site, 0.5) for site in "abc"])
    for value in found.values():
        np.testing.assert_allclose(value, 0.5, rtol=1e-6)


@pytest.mark.parametrize("name", sorted(ADAPTIVE))
def test_an_adaptive_step_goes_where_the_sites_went(name):
    found = merge(new(name), [reply(site, 0.5) for site in "abc"])
    assert (found["body"] > START["body"]).all()
    assert (found["head.bias"] < START["head.bias"]).all()


@pytest.mark.parametrize("name", STRATEGIES)
def test_permuting_the_sites_changes_nothing(name):
    replies = [reply("a", 0.1), reply("b", 0.2), reply("c", 0.6), reply("d", 0.3)]
    one, other = merge(new(name), replies), merge(new(name), replies[::-1])
    for key in START:
        np.testing.assert_allclose(one[key], other[key], atol=1e-6)


@pytest.mark.parametrize("name", AVERAGING)
def test_a_site_of_weight_zero_changes_nothing(name):
    replies = [reply("a", 0.1, n=30), reply("b", 0.2, n=10)]
    without = merge(new(name), replies)
    with_it = merge(new(name), [*replies, reply("c", 99.0, n=0)])
    for key in START:
        np.testing.assert_allclose(with_it[key], without[key], rtol=1e-6)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_goes_on_as_if_it_had_not_stopped(name):
    first, second = [reply("a", 0.1), reply("b", 0.2)], [reply("a", 0.4), reply("b", 0.1)]
    whole = new(name)
    middle = merge(whole, first)
    resumed = new(name)
    restore_memory(resumed, strategy_memory(whole))
    expected, found = merge(whole, second, middle), merge(resumed, second, middle)
    for key in START:
        np.testing.assert_array_equal(found[key], expected[key])


@pytest.mark.parametrize("name", ["fedavg", "fedavgm"])
def test_sites_count_by_their_records(name):
    found = merge(new(name), [reply("a", 1.0, n=30), reply("b", 5.0, n=10)])
    np.testing.assert_allclose(found["body"], 2.0, rtol=1e-6)


def test_the_median_ignores_one_wild_site():
    found = merge(new("fedmedian"), [reply("a", 0.1), reply("b", 0.2), reply("c", 1e9)])
    np.testing.assert_allclose(found["body"], 0.2, rtol=1e-6)
