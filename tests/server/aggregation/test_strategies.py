"""What is added before Flower merges: classes and leads are averaged by who has them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl.config.run_config import RunConfig
from fl.messages.flower_arrays import from_array_record, to_array_record
from fl.messages.payloads import TrainingReply
from fl.messages.update_weight import weighted_update
from fl.models import NetworkParts
from server.aggregation.evidence_average import average_updates
from server.aggregation.strategies import STRATEGIES

CLASSES = 3
LEADS = 2
PARTS = NetworkParts(
    head=("head.weight", "head.bias"),
    lead_columns=("stem.conv.weight", "stem.lead_shift.weight"),
)
START = {
    "stem.conv.weight": np.zeros((4, LEADS, 5), dtype=np.float32),
    "stem.lead_shift.weight": np.zeros((4, LEADS), dtype=np.float32),
    "body.weight": np.zeros((2, 2), dtype=np.float32),
    "head.weight": np.ones((CLASSES, 2), dtype=np.float32),
    "head.bias": np.zeros(CLASSES, dtype=np.float32),
}


def reply(site, value, n=10, annotated=None, recorded=None):
    """A site's update in which every weight is `value`."""
    return TrainingReply(
        site=site,
        weights={k: np.full_like(v, value) for k, v in START.items()},
        n_records=n,
        annotated=annotated or (n,) * CLASSES,
        recorded=recorded or (n,) * LEADS,
        loss_sum=1.0,
        n_seen=n,
        steps=1,
    )


def merged(*replies, parts=PARTS):
    most = sum(reply.n_records for reply in replies)
    return average_updates(replies, START, {}, parts, most).weights


def test_a_class_that_one_site_annotates_takes_that_sites_row():
    found = merged(reply("a", 4.0, annotated=(10, 10, 10)), reply("b", 8.0, annotated=(10, 0, 10)))
    np.testing.assert_allclose(found["head.bias"], [6, 4, 6], rtol=1e-6)
    np.testing.assert_allclose(found["head.weight"], [[6, 6], [4, 4], [6, 6]], rtol=1e-6)
    np.testing.assert_allclose(found["body.weight"], 6, rtol=1e-6)


def test_a_class_that_nobody_annotates_is_averaged_plainly():
    found = merged(
        reply("a", 4.0, annotated=(10, 0, 10)), reply("b", 8.0, n=30, annotated=(0, 0, 30))
    )
    np.testing.assert_array_equal(found["head.bias"], [4, 7, 7])
    np.testing.assert_array_equal(found["head.weight"], [[4, 4], [7, 7], [7, 7]])


def test_a_lead_that_one_site_records_takes_that_sites_column():
    found = merged(reply("a", 4.0, recorded=(10, 10)), reply("b", 8.0, n=30, recorded=(30, 0)))
    np.testing.assert_allclose(found["stem.conv.weight"][:, 0], 7, rtol=1e-6)
    np.testing.assert_allclose(found["stem.conv.weight"][:, 1], 4, rtol=1e-6)
    np.testing.assert_allclose(found["stem.lead_shift.weight"][:, 1], 4, rtol=1e-6)
    np.testing.assert_allclose(found["body.weight"], 7, rtol=1e-6)


def test_where_all_annotate_alike_it_is_the_plain_average():
    replies = [reply("a", 1.0, n=30), reply("b", 4.0, n=10)]
    for parts in (PARTS, NetworkParts()):
        found = merged(*replies, parts=parts)
        assert all((value == 1.75).all() for value in found.values())


def test_the_average_of_one_site_is_its_update():
    found = merged(reply("a", 0.1))
    assert all((found[k] == np.float32(0.1)).all() for k in START)


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 50), st.floats(-5, 5)), min_size=1))
def test_a_row_is_the_average_by_annotated_records(sites):
    replies = [
        reply(str(i), value, n=n, annotated=(n, min(n, m), n))
        for i, (n, m, value) in enumerate(sites)
    ]
    found = merged(*replies)
    counts = np.array([r.annotated[1] for r in replies], dtype=float)
    values = np.array([r.weights["head.bias"][1] for r in replies])
    if not counts.sum():
        counts = np.array([r.n_records for r in replies], dtype=float)
    expected = values @ counts / counts.sum()
    np.testing.assert_allclose(found["head.bias"][1], expected, atol=1e-4)


def test_rows_and_columns_alone_are_averaged_by_their_own_records():
    replies = [reply("a", 1.0, annotated=(10, 0, 0)), reply("b", 2.0, annotated=(0, 10, 10))]
    found, plain = merged(*replies), merged(*replies, parts=NetworkParts())
    differ = {k for k in START if not np.array_equal(found[k], plain[k])}
    assert differ == set(PARTS.head)


def test_a_network_without_declared_parts_is_averaged_plainly():
    replies = [reply("a", 1.0, annotated=(10, 0, 0)), reply("b", 2.0, recorded=(10, 0))]
    found = merged(*replies, parts=NetworkParts())
    assert all((value == 1.5).all() for value in found.values())


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_can_be_made_from_the_settings(name):
    strategy = STRATEGIES[name].make(RunConfig(strategy=name))
    assert hasattr(strategy, "aggregate_train")


def test_equal_weights_average_to_themselves():
    replies = [reply(s, 0.1, n=n) for s, n in (("a", 3), ("b", 7), ("c", 11))]
    found = merged(*replies)
    np.testing.assert_array_equal(found["head.bias"], np.full(CLASSES, 0.1, np.float32))
    assert from_array_record(to_array_record(found)).keys() == START.keys()


def test_a_site_may_count_by_its_records_by_their_root_or_as_one_of_many():
    replies = [reply("a", 1.0, n=100, annotated=(100, 50, 0)), reply("b", 4.0, n=25)]
    assert [weighted_update(reply, "records") for reply in replies] == replies
    for weighting, ratio in (("root", 2.0), ("even", 1.0)):
        one, other = (weighted_update(reply, weighting) for reply in replies)
        assert one.n_records / other.n_records == pytest.approx(ratio)
        # What it holds of each class keeps its share of the site's records.
        assert np.divide(one.annotated, one.n_records) == pytest.approx([1, 0.5, 0])
        assert one.weights is replies[0].weights
