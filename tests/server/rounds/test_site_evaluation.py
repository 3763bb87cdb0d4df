"""When the sites are asked to validate a round: with the training of the next, or alone."""

import pytest
from support.faulty_clients import (
    RecordedRequests,
    raises,
    spoiled,
    validation_of_other_classes,
    without_validation,
)
from support.rounds import digest, history, read_table, run


def test_the_sites_validate_a_round_where_they_train_the_next(make_job):
    recorded = RecordedRequests()
    watching, _ = run(make_job(3, rounds=3), recorded)
    sites = ["site-1", "site-2", "site-3"]
    assert sorted(recorded.of("train")) == [
        (number, site) for number in (1, 2, 3) for site in sites
    ]
    # Validation of the last round, and test of the best.
    # So few validation patients choose by the loss.
    best = min(watching.rows, key=lambda row: row.val_loss).round
    assert sorted(recorded.of("evaluate")) == sorted((n, s) for n in (3, best) for s in sites)
    assert [row.round for row in watching.rows] == [1, 2, 3]


def test_sites_that_do_not_train_validate_meanwhile(make_job):
    job = make_job(3, rounds=3, fraction=0.34)
    recorded = RecordedRequests()
    run(job, recorded)
    validated = [row for row in read_table(job, "sites.csv") if row["split"] == "val"]
    assert len(validated) == 3 * 3
    trained = recorded.of("train")
    assert [number for number, _ in trained] == [1, 2, 3]
    order = recorded.requests.index(("train", *trained[1]))
    meanwhile = recorded.requests[order + 1 : recorded.requests.index(("train", *trained[2]))]
    others = {"site-1", "site-2", "site-3"} - {trained[1][1]}
    assert sorted(meanwhile) == [("evaluate", 1, site) for site in sorted(others)]


@pytest.mark.parametrize(
    ("change", "strategy"),
    [
        (validation_of_other_classes, "fedavg"),
        (without_validation, "fedbn"),
        (without_validation, "scaffold"),
    ],
)
def test_validation_that_did_not_come_with_the_training_is_asked_for_and_the_same(
    make_job, change, strategy
):
    settings = {"rounds": 3, "strategy": strategy, "fraction": 0.7}
    plain, other = make_job(3, name="plain", **settings), make_job(3, name="other", **settings)
    run(plain)
    recorded = RecordedRequests(spoiled(change, "site-1", (2, 3)))
    watching, _ = run(other, recorded)
    again = [request for request in recorded.of("evaluate") if request[1] == "site-1"]
    assert [number for number, _ in again][:3] == [1, 2, 3]
    assert watching.failed == []
    assert digest(other) == digest(plain)
    assert history(other) == history(plain)


def test_a_site_that_fails_in_training_still_validates_what_it_was_sent(make_job):
    job = make_job(3, rounds=3)
    watching, _ = run(job, spoiled(raises, rounds=(2,)))
    assert watching.failed == [(2, "site-2", "train: OSError: disk on fire")]
    assert [row.failures for row in watching.rows] == [0, 1, 0]
    validated = [row["round"] for row in read_table(job, "sites.csv") if row["site"] == "site-2"]
    assert validated[:3] == ["1", "2", "3"]


def test_no_round_is_trained_that_patience_does_not_wait_for(make_job):
    recorded = RecordedRequests()
    watching, summary = run(make_job(3, rounds=30, patience=2, lr=0.1), recorded)
    rounds = summary.rounds
    assert rounds == summary.best_round + 2 < 30
    assert len(recorded.of("train")) == 3 * rounds
    assert [row.round for row in watching.rows] == list(range(1, rounds + 1))
