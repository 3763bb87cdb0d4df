"""Every strategy has two halves, and its merging keeps to what is common to all."""

import copy

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from support.rounds import digest, run

from clients.app import app as client_app
from clients.local_objectives import LOCAL_OBJECTIVES
from clients.local_objectives.base import ExtraUpdate, LocalObjective
from fl.config.run_config import RunConfig
from fl.config.strategy_traits import STRATEGY_TRAITS, strategy_traits
from fl.messages.flower_arrays import from_array_record, to_array_record
from fl.messages.flower_codec import CONFIG, training_reply
from fl.messages.payloads import TrainingReply
from server.aggregation.flower_internals import (
    forget_merged_arrays,
    restore_memory,
    strategy_memory,
)
from server.aggregation.selected_nodes import configure_round
from server.aggregation.strategies import STRATEGIES, AggregationRule, ExtraRule
from server.engines.in_process import LocalGrid

START = {"body": np.zeros(3, dtype=np.float32), "head.bias": np.ones(2, dtype=np.float32)}
ADAPTIVE = {"fedadagrad", "fedadam", "fedyogi"}  # take a step of their own size
AVERAGING = sorted(name for name in STRATEGIES if not strategy_traits(name).needs_each_update)


@pytest.fixture(autouse=True)
def _in_a_run():
    """Flower makes messages only within a run, which a grid begins."""
    LocalGrid(client_app, 1)


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_has_a_half_at_the_sites(name):
    assert isinstance(LOCAL_OBJECTIVES[name], LocalObjective)


def test_no_half_and_no_trait_is_without_its_strategy():
    assert LOCAL_OBJECTIVES.keys() == STRATEGIES.keys()
    assert STRATEGY_TRAITS.keys() <= STRATEGIES.keys()


def test_a_strategy_from_outside_is_one_line_on_each_side(make_job, monkeypatch):
    """A toy strategy that counts the answers of its sites in an extra array."""
    one = np.ones(1, dtype=np.float32)
    counting = ExtraRule(
        initial=lambda network: {"count": 0 * one},
        merge=lambda before, average, share: {"count": before["count"] + average["count"]},
    )
    received = []

    def count(begin, end, lr_sum):
        received.append(begin.sent["count"].item())
        return ExtraUpdate(kept={"seen": begin.kept.get("seen", 0 * one) + 1}, sent={"count": one})

    monkeypatch.setitem(
        STRATEGIES,
        "toy",
        AggregationRule(lambda config: STRATEGIES["fedavg"].make(config), extra=counting),
    )
    monkeypatch.setitem(LOCAL_OBJECTIVES, "toy", LocalObjective(extra=count))
    toy, plain = make_job(2, name="toy", strategy="toy"), make_job(2, name="plain")
    watching, _ = run(toy)
    run(plain)
    assert watching.failed == []
    assert received == [0.0, 0.0, 1.0, 1.0]
    assert digest(toy) == digest(plain)


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


def merge(name, strategy, replies, start=None):
    """One round: the weights after it."""
    sent = to_array_record(START if start is None else start)
    forget_merged_arrays(name, strategy)
    configure_round(strategy, 1, sent, ConfigRecord(), [1, 2, 3])
    # Copies, because some of Flower's strategies take the arrays out of the replies.
    result, _ = strategy.aggregate_train(1, copy.deepcopy(replies))
    return from_array_record(result)


def new(name):
    return STRATEGIES[name].make(RunConfig(strategy=name))


@pytest.mark.parametrize("name", sorted(STRATEGIES.keys() - ADAPTIVE))
def test_equal_sites_give_plain_training(name):
    found = merge(name, new(name), [reply(site, 0.5) for site in "abc"])
    for value in found.values():
        np.testing.assert_allclose(value, 0.5, rtol=1e-6)


@pytest.mark.parametrize("name", sorted(ADAPTIVE))
def test_an_adaptive_step_goes_where_the_sites_went(name):
    found = merge(name, new(name), [reply(site, 0.5) for site in "abc"])
    assert (found["body"] > START["body"]).all()
    assert (found["head.bias"] < START["head.bias"]).all()


@pytest.mark.parametrize("name", STRATEGIES)
def test_permuting_the_sites_changes_nothing(name):
    replies = [reply("a", 0.1), reply("b", 0.2), reply("c", 0.6), reply("d", 0.3)]
    one, other = merge(name, new(name), replies), merge(name, new(name), replies[::-1])
    for key in START:
        np.testing.assert_allclose(one[key], other[key], atol=1e-6)


@pytest.mark.parametrize("name", AVERAGING)
def test_a_site_of_weight_zero_changes_nothing(name):
    replies = [reply("a", 0.1, n=30), reply("b", 0.2, n=10)]
    without = merge(name, new(name), replies)
    with_it = merge(name, new(name), [*replies, reply("c", 99.0, n=0)])
    for key in START:
        np.testing.assert_allclose(with_it[key], without[key], rtol=1e-6)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_resumed_strategy_goes_on_as_if_it_had_not_stopped(name):
    first, second = [reply("a", 0.1), reply("b", 0.2)], [reply("a", 0.4), reply("b", 0.1)]
    whole = new(name)
    middle = merge(name, whole, first)
    resumed = new(name)
    restore_memory(name, resumed, strategy_memory(name, whole))
    expected, found = merge(name, whole, second, middle), merge(name, resumed, second, middle)
    for key in START:
        np.testing.assert_array_equal(found[key], expected[key])


@pytest.mark.parametrize("name", ["fedavg", "fedavgm"])
def test_sites_count_by_their_records(name):
    found = merge(name, new(name), [reply("a", 1.0, n=30), reply("b", 5.0, n=10)])
    np.testing.assert_allclose(found["body"], 2.0, rtol=1e-6)


def test_the_median_ignores_one_wild_site():
    found = merge(
        "fedmedian", new("fedmedian"), [reply("a", 0.1), reply("b", 0.2), reply("c", 1e9)]
    )
    np.testing.assert_allclose(found["body"], 0.2, rtol=1e-6)
