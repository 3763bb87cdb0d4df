"""How much an update counts, and what each strategy is made with, worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord
from support.prepared_sites import update

from fl.config.run_config import RunConfig
from fl.config.strategy_traits import strategy_traits
from fl.messages.flower_arrays import to_array_record
from fl.messages.payloads import SiteInfo
from fl.messages.update_weight import most_weight, weighted_update
from fl.models import NetworkParts
from server.aggregation.evidence_average import average_updates
from server.aggregation.scaffold import initial_control, merge_control
from server.aggregation.selected_nodes import SelectedNodes, configure_round
from server.aggregation.strategies import STRATEGIES
from server.engines.grid_internals import identify_server

START = {"head": np.zeros((2, 1), np.float32), "stem": np.zeros((1, 2), np.float32)}
PARTS = NetworkParts(head=("head",), lead_columns=("stem",))


def sent(site, value, n, annotated, recorded=None):
    """An update of two classes and two leads, all of whose weights are `value`."""
    weights = {name: np.full_like(start, value) for name, start in START.items()}
    given = {"annotated": annotated, "recorded": recorded or (n, n)}
    return update(site, weights, n_records=n, **given)


def averaged(*replies, start=START, parts=PARTS, control=None):
    """The one update that is handed to a strategy for all of these."""
    most = sum(reply.n_records for reply in replies)
    return average_updates(replies, start, control or {}, parts, most)


def test_roots_are_taken_in_thousandths_and_counts_keep_their_shares():
    reply = update("a", {}, n_records=100, annotated=(100, 25, 0), recorded=(100, 1))
    root = weighted_update(reply, "root")
    assert (root.n_records, root.annotated, root.recorded) == (
        10_000,
        (10_000, 2500, 0),
        (10_000, 100),
    )
    even = weighted_update(reply, "even")
    assert (even.n_records, even.annotated, even.recorded) == (1000, (1000, 250, 0), (1000, 10))
    assert root == replace(
        reply, n_records=10_000, annotated=root.annotated, recorded=root.recorded
    )


def test_by_patients_a_site_counts_as_many_as_it_has_and_its_counts_are_of_them():
    replies = [
        update("a", {}, n_records=100, n_patients=3, annotated=(3, 1), recorded=(3, 2)),
        update("b", {}, n_records=9, n_patients=9, annotated=(9, 9), recorded=(9, 0)),
    ]
    one, other = (weighted_update(reply, "patients") for reply in replies)
    assert (one, other) == (replace(replies[0], n_records=3), replies[1])


def test_a_single_annotated_record_decides_its_class():
    found = averaged(sent("a", 2.0, 10, (10, 1)), sent("b", 6.0, 30, (30, 0))).weights
    np.testing.assert_allclose(found["head"].ravel(), [5, 2], rtol=1e-6)
    np.testing.assert_allclose(found["stem"], 5, rtol=1e-6)


def test_a_site_that_alone_annotates_all_classes_decides_them_all():
    found = averaged(sent("a", 2.0, 10, (10, 10)), sent("b", 6.0, 10, (0, 0))).weights
    np.testing.assert_allclose(found["head"], 2, rtol=1e-6)
    np.testing.assert_allclose(found["stem"], 4, rtol=1e-6)


def test_a_single_recorded_lead_is_averaged_over_those_that_recorded_it():
    found = averaged(
        sent("a", 2.0, 10, (10, 10), recorded=(10, 1)), sent("b", 6.0, 30, (30, 30), (30, 1))
    ).weights
    np.testing.assert_allclose(found["stem"], [[5, 4]], rtol=1e-6)
    np.testing.assert_allclose(found["head"], 5, rtol=1e-6)


def test_a_change_is_scaled_from_where_the_round_began():
    start = {"head": np.full((2, 1), 1.0, np.float32)}
    replies = [
        update(site, {"head": np.full((2, 1), value, np.float32)}, annotated=counts)
        for site, value, counts in (("a", 3.0, (10, 10)), ("b", 2.0, (10, 0)))
    ]
    found = averaged(*replies, start=start, parts=NetworkParts(head=("head",)))
    # Half of the records are each site's; of the second class, all and none.
    np.testing.assert_allclose(found.weights["head"].ravel(), [2.5, 3])


def test_what_is_sent_beside_the_weights_is_averaged_by_the_same_records():
    start = {"head": np.zeros((2, 1), np.float32)}
    control = {"head": np.full((2, 1), 1.0, np.float32), "count": np.ones(1, np.float32)}
    replies = [
        update(
            site,
            start,
            annotated=counts,
            extra={"head": np.full((2, 1), value, np.float32), "count": np.full(1, value)},
        )
        for site, value, counts in (("a", 3.0, (10, 10)), ("b", 2.0, (10, 0)))
    ]
    found = averaged(*replies, start=start, parts=NetworkParts(head=("head",)), control=control)
    np.testing.assert_allclose(found.extra["head"].ravel(), [2.5, 3])
    np.testing.assert_allclose(found.extra["count"], 2.5)
    assert (found.weights["head"] == 0).all()


def test_the_update_for_all_holds_the_sums_of_what_was_sent_with_them():
    found = averaged(sent("a", 2.0, 10, (10, 1)), sent("b", 6.0, 30, (30, 0)))
    assert (found.n_records, found.annotated, found.recorded) == (40, (40, 1), (40, 40))


@pytest.mark.parametrize(
    ("weighting", "most"), [("records", 109), ("patients", 12), ("root", 13_000), ("even", 2000)]
)
def test_the_weight_of_sites_is_bounded_by_their_first_words(weighting, most):
    sites = [
        SiteInfo(site=name, n_train=patients, n_val=1, n_test=1, n_records=records)
        for name, records, patients in (("a", 100, 3), ("b", 9, 9))
    ]
    assert most_weight(sites, weighting) == most
    replies = [
        update("a", {}, n_records=100, n_patients=3, annotated=(3,), recorded=(3,)),
        update("b", {}, n_records=9, n_patients=9, annotated=(9,), recorded=(9,)),
    ]
    assert sum(weighted_update(reply, weighting).n_records for reply in replies) == most


@pytest.mark.parametrize(("share", "expected"), [(1.0, 3.0), (0.5, 2.0), (0.25, 1.5)])
def test_a_control_variate_moves_towards_the_average_by_the_share_of_sites(share, expected):
    control, average = {"w": np.full(2, 1, np.float32)}, {"w": np.full(2, 3, np.float64)}
    found = merge_control(control, average, share)
    np.testing.assert_allclose(found["w"], expected)
    assert found["w"].dtype == np.float32


def test_control_variates_begin_at_zero_and_have_the_parameters_shapes():
    found = initial_control(torch.nn.Linear(3, 2))
    assert {k: v.shape for k, v in found.items()} == {"weight": (2, 3), "bias": (2,)}
    assert not any(v.any() for v in found.values())


def test_rules_that_compare_sites_with_each_other_do_not_average():
    compares = {name for name in STRATEGIES if strategy_traits(name).needs_each_update}
    assert compares == {"fedmedian", "fedtrimmedavg", "krum"}


def test_strategies_with_momentum_or_a_learning_rate_of_their_own_remember():
    remembering = {name for name, rule in STRATEGIES.items() if rule.remembers}
    assert remembering == {"fedavgm", "fedadagrad", "fedadam", "fedyogi"}


@pytest.mark.parametrize(
    ("name", "attribute", "default"),
    [
        ("fedavgm", "server_learning_rate", 1.0),
        ("fedadagrad", "eta", 0.01),
        ("fedadam", "eta", 0.01),
        ("fedyogi", "eta", 0.01),
    ],
)
def test_the_servers_learning_rate_is_the_one_asked_for_or_the_strategys_own(
    name, attribute, default
):
    def rate(**settings):
        strategy = STRATEGIES[name].make(RunConfig(strategy=name, **settings))
        return getattr(strategy, attribute)

    assert rate() == default
    assert rate(server_lr=0.3) == 0.3


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("nodes", [[1003], [1007, 1003, 1001]])
def test_a_strategy_asks_every_node_that_it_is_shown_and_waits_for_no_more(
    monkeypatch, name, nodes
):
    def waits(seconds):
        raise AssertionError(f"{name} waits for more nodes")

    monkeypatch.setattr("flwr.serverapp.strategy.strategy_utils.sleep", waits)
    identify_server()
    strategy = STRATEGIES[name].make(RunConfig(strategy=name))
    requests = configure_round(strategy, 1, to_array_record(START), ConfigRecord(), nodes)
    assert sorted(requests) == sorted(nodes)
    assert all(r.metadata.dst_node_id == node for node, r in requests.items())


def test_nothing_but_the_nodes_is_given_to_a_strategy():
    nodes = SelectedNodes([1])
    for ask in (
        lambda: nodes.run,
        lambda: nodes.set_run(1),
        lambda: nodes.create_message(),
        lambda: nodes.push_messages([]),
        lambda: nodes.pull_messages([]),
        lambda: nodes.send_and_receive([]),
    ):
        with pytest.raises(RuntimeError, match="the round loop sends"):
            ask()
