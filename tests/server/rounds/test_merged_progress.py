"""What one merge does to a training's progress: weights, counts, and what each site sent."""

import numpy as np
import pytest
from flwr.serverapp.strategy import FedAvg
from support.prepared_sites import (
    PreparedSites,
    federation_of,
    prepared_job,
    start,
    train,
    update,
)

from fl.messages.flower_codec import site_info_request
from fl.models import NetworkParts
from fl.util.errors import FederationError
from server.aggregation.kept_updates import store_update
from server.aggregation.strategies import STRATEGIES
from server.aggregation.update_store import UpdateStore
from server.rounds import merging
from server.rounds.merging import RoundUpdates, merge

W = np.zeros(2, np.float32)


def merged(tmp_path, replies, progress=None, failures=(), rule=None, **settings):
    """A training's progress after these updates of four sites in its fourth round."""
    job = prepared_job(tmp_path, 4, **settings)
    federation = federation_of(job, PreparedSites((10,) * 4))
    progress = progress or start()
    shared = {"w": progress.weights["w"]}
    updates = RoundUpdates(
        number=4,
        requests={site: site_info_request(job, node) for site, node in federation.nodes.items()},
        shared=shared,
        trained={reply.site: reply for reply in replies},
        failures=list(failures),
    )
    rule = rule or STRATEGIES[job.config.strategy].make(job.config)
    merge(federation, rule, progress, updates)
    return progress


def sent(site, value, **changed):
    return update(site, {"w": np.full(2, value, np.float32)}, **changed)


def test_counts_of_a_round_are_added_and_what_sites_saw_is_kept(tmp_path):
    before = start(w=W, norm=np.full(3, 7.0, np.float32))
    before.steps, before.n_seen = 100, {"site-1": 1, "site-4": 44}
    before.failures = [{"round": 3, "site": "site-4", "reason": "old"}]
    lost = {"round": 4, "site": "site-3", "reason": "train: lost"}
    other = {"round": 3, "site": "site-3", "reason": "val: lost"}
    replies = [
        sent("site-2", 5.0, n_records=30, n_patients=30, steps=4, n_seen=20, loss_sum=2.0),
        sent("site-1", 1.0, n_records=10, steps=3, n_seen=12, loss_sum=6.0),
    ]
    found = merged(tmp_path, replies, before, [other, lost])
    np.testing.assert_allclose(found.weights["w"], (10 * 1 + 30 * 5) / 40)
    np.testing.assert_array_equal(found.weights["norm"], 7)
    assert (found.round, found.steps) == (4, 100 + 3 + 4)
    assert found.n_seen == {"site-1": 12, "site-2": 20, "site-4": 44}
    assert [f["reason"] for f in found.failures] == ["old", "train: lost"]
    assert found.unvalidated == {"participants": 2, "train_loss": 8 / 32}


def test_entries_keep_their_type(tmp_path):
    before = start(w=np.zeros(2, np.float64))
    found = merged(tmp_path, [sent("site-1", 1.5), sent("site-2", 1.5)], before)
    assert found.weights["w"].dtype == np.float64


@pytest.mark.parametrize(
    ("weighting", "expected"),
    [("records", 4.0), ("patients", 1.25), ("root", 10 / 3), ("even", 2.5)],
)
def test_sites_count_by_their_records_or_as_the_run_says(tmp_path, weighting, expected):
    # 10 records and 40: one to four, one to two, or one to one; of 9 patients and 3.
    replies = [
        sent("site-1", 0.0, n_records=10, n_patients=9),
        sent("site-2", 5.0, n_records=40, n_patients=3),
    ]
    found = merged(tmp_path, replies, weighting=weighting)
    np.testing.assert_allclose(found.weights["w"], expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("strategy", "averaging", "expected"),
    [
        ("fedavg", "evidence", [3, 1]),
        ("fedavg", "plain", [3, 3]),
        ("fedmedian", "evidence", [3, 3]),
        ("fedmedian", "plain", [3, 3]),
    ],
)
def test_evidence_counts_where_it_is_asked_for_and_the_strategy_averages(
    tmp_path, monkeypatch, strategy, averaging, expected
):
    monkeypatch.setattr(merging, "parts_of", lambda *_: NetworkParts(head=("w",)))
    replies = [
        sent("site-1", 1.0, annotated=(10, 10)),
        sent("site-2", 5.0, annotated=(10, 0)),
    ]
    found = merged(tmp_path, replies, strategy=strategy, averaging=averaging)
    np.testing.assert_allclose(found.weights["w"], expected, rtol=1e-6)


def test_what_is_sent_beside_the_weights_moves_by_the_share_of_all_sites(tmp_path):
    before = start()
    before.extra = {"w": np.full(2, 1.0, np.float32)}
    replies = [
        sent(site, 1.0, extra={"w": np.full(2, value, np.float32)})
        for site, value in (("site-1", 4.0), ("site-2", 6.0))
    ]
    # Two of four sites: half of the way from 1 to their average of 5.
    found = merged(tmp_path, replies, before, strategy="scaffold")
    np.testing.assert_allclose(found.extra["w"], 3)


def test_control_variates_are_averaged_by_the_evidence_that_weights_are(tmp_path, monkeypatch):
    monkeypatch.setattr(merging, "parts_of", lambda *_: NetworkParts(head=("w",)))
    before = start()
    before.extra = {"w": np.zeros(2, np.float32)}
    replies = [
        sent(site, 1.0, annotated=counts, extra={"w": np.full(2, value, np.float32)})
        for site, value, counts in (("site-1", 4.0, (10, 10)), ("site-2", 6.0, (10, 0)))
    ]
    found = merged(tmp_path, replies, before, strategy="scaffold", averaging="evidence")
    # Two of four sites: half of the way to their average, which is site-1's in the second row.
    np.testing.assert_allclose(found.extra["w"], [2.5, 2])


def test_without_a_rule_nothing_is_kept_beside_the_weights(tmp_path):
    assert merged(tmp_path, [sent("site-1", 1.0), sent("site-2", 1.0)]).extra == {}


def test_too_few_updates_change_nothing(tmp_path):
    progress = start()
    with pytest.raises(FederationError, match="1 of 4 sites gave a usable update"):
        merged(tmp_path, [sent("site-1", 5.0)], progress)
    assert (progress.round, progress.weights["w"].tolist()) == (0, [0, 0])


def test_a_strategy_that_gives_no_weights_is_named(tmp_path):
    class GivesNone(FedAvg):
        def aggregate_train(self, *_):
            return None, None

    with pytest.raises(FederationError, match="Round 4: GivesNone gave no weights"):
        merged(tmp_path, [sent("site-1", 1.0), sent("site-2", 1.0)], rule=GivesNone())


def test_a_stored_update_is_the_same_update(tmp_path):
    extra = {"c": np.arange(3, dtype=np.float32)}
    trained = sent("site-1", 2.5, extra=extra, steps=9)
    stored = store_update(trained, UpdateStore(tmp_path))
    assert (stored.site, stored.steps, stored.n_records) == ("site-1", 9, 10)
    np.testing.assert_array_equal(stored.weights["w"], trained.weights["w"])
    np.testing.assert_array_equal(stored.extra["c"], extra["c"])


def test_a_way_of_merging_that_leaves_nobody_out_says_so(tmp_path, caplog):
    """Flower cuts a fifth off at each end; of four sites that is nobody."""
    job = prepared_job(tmp_path, 4, rounds=1, strategy="fedtrimmedavg")
    train(job, PreparedSites((10,) * 4))
    assert "fedtrimmedavg of 4 sites leaves nobody out: it needs 5" in caplog.text
    caplog.clear()
    folder = tmp_path / "five"
    folder.mkdir()
    train(prepared_job(folder, 5, rounds=1, strategy="fedtrimmedavg"), PreparedSites((10,) * 5))
    assert "leaves nobody out" not in caplog.text
