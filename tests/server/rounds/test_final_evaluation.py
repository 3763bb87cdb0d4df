"""Test results of a training: every site's, the server's own, and averages worked out by hand."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.prepared_sites import PreparedSites, federation_of, prepared_job, start
from support.rules import even_rule
from support.site_measures import measures, report

from fl.ecg.tasks import RHYTHM
from fl.evaluation.decisions.decision_rule import answer
from fl.evaluation.group_evaluation import evaluate_sources
from fl.evaluation.predictions import Predictions, write_predictions
from fl.messages.payloads import EvaluationReply
from fl.models import build_network
from fl.training.loop import predict
from fl.training.state_dict import get_weights
from partitions.partition import CENTRAL, UNSEEN, Partition, open_partition, write_partition
from partitions.splits import TEST
from server.rounds import final_evaluation
from server.rounds.final_evaluation import (
    ServerMeasures,
    across_sites,
    evaluate_server_groups,
    final_measures,
    mean_of_servers,
    server_cohorts,
    site_predictions,
    site_test_row,
    training_summary,
)

RULE = even_rule(RHYTHM.classes)
NOTHING = {"worst_site": None, "site_mean": None, "spread": None}


def test_the_worst_site_the_mean_and_the_spread():
    found = across_sites(
        {
            "site-1": measures(0.8, 0.9),
            "site-2": measures(0.2, None),
            "site-3": measures(0.5, 0.6),
            "site-4": measures(None, 0.6),
            "site-5": None,
        }
    )
    assert (found["worst_site"].site, found["worst_site"].macro_f1) == ("site-2", 0.2)
    assert found["site_mean"].macro_f1 == pytest.approx(0.5)
    assert found["site_mean"].macro_auroc == pytest.approx(0.7)
    assert found["spread"].macro_f1_range == pytest.approx(0.6)
    assert found["spread"].macro_f1_sd == pytest.approx(np.sqrt(0.06))


def test_of_equally_bad_sites_the_first_by_name_is_the_worst():
    found = across_sites({"b": measures(0.3), "a": measures(0.3), "c": measures(0.4)})
    assert found["worst_site"].site == "a"


@pytest.mark.parametrize("sites", [{}, {"a": None}, {"a": measures(None)}])
def test_without_a_measured_site_there_is_no_average(sites):
    assert across_sites(sites) == NOTHING


def test_a_site_has_a_line_for_its_test_records_with_or_without_measures():
    reply = EvaluationReply(
        site="site-2",
        n_records=4,
        n_patients=4,
        loss_sum=6.0,
        by_source={},
        report=measures(0.25, 0.75),
    )
    row = site_test_row("fedavg", 7, reply)
    assert (row.strategy, row.round, row.site, row.split) == ("fedavg", 7, "site-2", TEST)
    assert (row.n_records, row.loss, row.macro_f1, row.macro_auroc) == (4, 1.5, 0.25, 0.75)
    row = site_test_row("fedavg", 7, replace(reply, report=None, n_records=0, n_patients=0))
    assert (row.loss, row.macro_f1, row.macro_auroc) == (None, None, None)


def test_every_site_tests_the_best_round_and_its_lines_and_steps_are_added(tmp_path):
    def validate(reply, number):
        if reply.site == "site-2":
            raise OSError("disk on fire")
        return replace(reply, report=report(f1=0.25)) if reply.site == "site-3" else reply

    sites = PreparedSites(validate=validate)
    progress = start()
    progress.rule = RULE
    progress.steps, progress.round, progress.best_round = 12, 6, 4
    progress.failures = [{"round": 1, "site": "site-1", "reason": "before"}]
    row = site_test_row("fedavg", 1, sites.evaluated("site-1", 1, TEST))
    progress.site_rows = [row]
    found = final_measures(federation_of(prepared_job(tmp_path), sites), progress)
    # Those with the most test records are asked first; those that answered are in order of name.
    assert sites.requests == [("test", 4, f"site-{i}") for i in (1, 2, 3)]
    assert list(found.items()) == [("site-1", None), ("site-3", report(f1=0.25))]
    assert progress.site_rows[0] is row
    assert [(r.round, r.site, r.split) for r in progress.site_rows[1:]] == [
        (4, "site-1", TEST),
        (4, "site-3", TEST),
    ]
    assert progress.steps == 12 + 3 + 3
    assert [(f["round"], f["site"]) for f in progress.failures] == [(1, "site-1"), (4, "site-2")]


def test_predictions_of_sites_with_measures_are_read_in_order_of_name(tmp_path, few):
    p = np.full((len(few), len(RHYTHM.classes)), 0.5)
    for site in ("site-1", "site-2", "site-3"):
        folder = tmp_path / "checkpoint" / "sites" / site
        folder.mkdir(parents=True)
        own = Predictions.of_cohort(few, p, p > 0.5, strategy="fedavg", site=site, split=TEST)
        write_predictions(folder / "predictions-fedavg.csv", own)
    sites = {"site-3": measures(0.5), "site-2": None, "site-1": measures(0.5)}
    found = site_predictions(tmp_path, RHYTHM, "fedavg", sites)
    assert found.site.tolist() == ["site-1"] * len(few) + ["site-3"] * len(few)


def test_a_coordinator_without_recordings_has_no_records_of_its_own(tmp_path):
    assert server_cohorts(prepared_job(tmp_path)) == {}


def with_central_records(make_job, cohort, **of):
    """A job in which these rows are test records of no site."""
    job = make_job(2)
    site = np.full(len(cohort), "site-1", dtype="U64")
    for name, rows in of.items():
        site[rows] = name
    split = np.full(len(cohort), TEST, dtype="U8")
    write_partition(Path(job.workspace) / "partition.csv", cohort, Partition(site, split))
    return job


def test_the_servers_own_records_are_those_of_no_site(make_job, few):
    job = with_central_records(make_job, few, central=[1, 5])
    (name, cohort), *others = server_cohorts(job).items()
    assert (name, cohort.names.tolist()) == (CENTRAL, few.names[[1, 5]].tolist())
    assert others == []


def test_the_servers_own_records_are_opened_once_for_all_models_of_a_run(make_job, few):
    job = with_central_records(make_job, few, central=[1, 5])
    opened = server_cohorts(job)
    of_local = job.model_copy(update={"strategy": "local"})
    assert server_cohorts(of_local)[CENTRAL] is opened[CENTRAL]


def test_models_that_are_tested_at_once_wait_for_the_records(make_job, few, monkeypatch):
    job, opened = with_central_records(make_job, few, central=[1, 5]), []

    def slowly(*arguments):
        opened.append(arguments)
        time.sleep(0.1)
        return open_partition(*arguments)

    monkeypatch.setattr(final_evaluation, "open_partition", slowly)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(server_cohorts, [job] * 3))
    assert len(opened) == 1


def test_the_servers_own_records_follow_the_partition(make_job, few):
    before = server_cohorts(with_central_records(make_job, few, central=[1, 5]))[CENTRAL]
    job = with_central_records(make_job, few, central=[2, 3, 5])
    after = server_cohorts(job)[CENTRAL]
    assert (len(before), after.names.tolist()) == (2, few.names[[2, 3, 5]].tolist())


class Parts:
    """Two cohorts of the server's, of which the central one is of two sources."""

    def __init__(self, cohort):
        sources = cohort.sources
        first, second = (np.flatnonzero(sources == s)[:4] for s in sorted(set(sources.tolist())))
        self.central = cohort.take(np.concatenate([first, second]))
        self.unseen = cohort.take(np.flatnonzero(sources == sources[0])[4:7])


def test_the_server_measures_each_group_and_each_source_of_the_central_one(
    make_job, cohort, monkeypatch
):
    parts, job = Parts(cohort), make_job(2)
    groups = {CENTRAL: parts.central, UNSEEN: parts.unseen}
    monkeypatch.setattr(final_evaluation, "server_cohorts", lambda job: groups)
    network = build_network(job.config.model, RHYTHM)
    weights = get_weights(network)
    drawn = torch.get_rng_state()
    other = build_network(job.config.model, RHYTHM)
    torch.set_rng_state(drawn)
    found, predicted = evaluate_server_groups(other, job, "fedavg", weights, RULE)
    # A site that is trained meanwhile, by another thread, draws its dropout from there.
    assert torch.equal(torch.get_rng_state(), drawn)
    p = predict(network, parts.central, device="cpu")

    def expected(part, p):
        calibrated, decided = answer(RULE, p, part.sources, RHYTHM.classes)
        return evaluate_sources(part, calibrated, decided, job.config.seed)[0]

    assert found.central == expected(parts.central, p)
    assert found.unseen == expected(parts.unseen, predict(network, parts.unseen, device="cpu"))
    names = sorted(set(parts.central.sources.tolist()))
    assert sorted(found.central_by_source) == names
    for name in names:
        rows = np.flatnonzero(parts.central.sources == name)
        assert found.central_by_source[name] == expected(parts.central.take(rows), p[rows])
    assert predicted.site.tolist() == [CENTRAL] * len(parts.central) + [UNSEEN] * len(parts.unseen)


def test_a_server_without_records_of_its_own_measures_nothing(make_job, monkeypatch):
    job = make_job(2)
    monkeypatch.setattr(final_evaluation, "server_cohorts", lambda job: {})
    network = build_network(job.config.model, RHYTHM)
    found, predicted = evaluate_server_groups(network, job, "fedavg", get_weights(network), RULE)
    assert found == ServerMeasures(central=None, unseen=None, central_by_source={})
    assert len(predicted) == 0


def test_several_models_count_alike():
    models = [
        ServerMeasures(central=measures(f1), unseen=None, central_by_source={"x": measures(f1)})
        for f1 in (0.2, 0.6)
    ]
    found = mean_of_servers(models)
    assert found.central.macro_f1.value == pytest.approx(0.4)
    assert found.central_by_source["x"].macro_f1.value == pytest.approx(0.4)
    assert found.unseen is None


def test_a_summary_holds_the_servers_measures_and_the_sites(tmp_path):
    server = ServerMeasures(central=measures(0.5), unseen=None, central_by_source={})
    sites = {"site-1": measures(0.25)}
    found = training_summary(
        server, sites, thresholds=None, best_round=1, rounds=2, gradient_steps=3, lr=0.1
    )
    assert (found.central, found.sites) == (measures(0.5), sites)
    assert (found.worst_site.site, found.rounds, found.gradient_steps) == ("site-1", 2, 3)
