"""The speed benchmarks: all engines do the same work, and the figures are computed correctly."""

import itertools
import mmap
import os
import time
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.common.process_watch import ProcessWatch, memory_of
from benchmarks.speed import engine_run, plain_flower
from benchmarks.speed.overhead import best_packing, figures, packing, run_case, table
from clients.app import app as client_app
from fl.messages.flower_arrays import from_array_record, to_array_record
from fl.messages.flower_codec import read_training_reply, training_request
from fl.training.state_dict import load_weights
from server.app import initial_weights
from server.engines.in_process import LocalGrid
from server.rounds.site_sampling import longest_first

seconds = st.lists(st.integers(1, 50).map(float), min_size=1, max_size=7)


def best_of_all_packings(jobs, workers):
    ways = itertools.product(range(workers), repeat=len(jobs))
    return min(
        max(sum(j for j, w in zip(jobs, way, strict=True) if w == k) for k in range(workers))
        for way in ways
    )


@given(seconds)
def test_the_best_packing_on_two_workers_is_the_best_of_all(jobs):
    assert best_packing(jobs, 2) == best_of_all_packings(jobs, 2)


@given(seconds, st.integers(1, 3))
def test_no_packing_beats_the_bound(jobs, workers):
    assert best_packing(jobs, workers) <= best_of_all_packings(jobs, workers) + 1e-9


@given(st.dictionaries(st.text(min_size=1, max_size=3), st.integers(0, 99), min_size=1))
def test_the_longest_requests_come_first_and_none_is_lost(load):
    order = longest_first(load, load)
    assert sorted(order) == sorted(load)
    assert [load[site] for site in order] == sorted(load.values(), reverse=True)


def test_a_site_trains_in_the_bare_pool_as_in_the_federation(make_job):
    job = make_job(3)
    weights, grid = initial_weights(job), LocalGrid(client_app, 3)
    for number, node in enumerate(grid.get_node_ids()):
        message = training_request(job, to_array_record(weights), node, 1)
        trained = read_training_reply(client_app(message, grid.contexts[node]))
        reference = engine_run.train_without_federation(job, f"site-{number + 1}", weights, 1)
        assert trained.site == f"site-{number + 1}"
        for name in weights:
            np.testing.assert_array_equal(trained.weights[name], reference[name])


def test_a_site_trains_under_plain_flower_as_in_the_federation(make_job):
    job = make_job(2)
    weights, grid = initial_weights(job), LocalGrid(plain_flower.client_app, 2)
    settings = {"job": job.model_dump_json(), "idle": False, "plain": False, "server-round": 1}
    for number, node in enumerate(grid.get_node_ids()):
        content = {"arrays": to_array_record(weights), "config": ConfigRecord(dict(settings))}
        message = Message(RecordDict(content), node, MessageType.TRAIN)
        reply = plain_flower.client_app(message, grid.contexts[node])
        trained = from_array_record(reply.content["arrays"])
        reference = engine_run.train_without_federation(job, f"site-{number + 1}", weights, 1)
        for name in weights:
            np.testing.assert_array_equal(trained[name], reference[name])


def test_the_quickstart_trains_and_validates_with_its_own_code(make_job):
    job = make_job(2, model="reslstm_temporalse", local_epochs=3, rhythm_features="none")
    grid = LocalGrid(plain_flower.client_app, 2)
    node = next(iter(grid.get_node_ids()))
    settings = {"job": job.model_dump_json(), "idle": False, "plain": True, "server-round": 1}

    def ask(kind, weights):
        content = {"arrays": to_array_record(weights), "config": ConfigRecord(dict(settings))}
        message = Message(RecordDict(content), node, kind)
        return plain_flower.client_app(message, grid.contexts[node]).content

    before = initial_weights(job)
    trained = ask(MessageType.TRAIN, before)
    after = from_array_record(trained["arrays"])
    assert {k: v.shape for k, v in after.items()} == {k: v.shape for k, v in before.items()}
    assert not np.array_equal(after["head.weight"], before["head.weight"])
    first, later = (
        ask(MessageType.EVALUATE, weights)["metrics"]["eval_loss"] for weights in (before, after)
    )
    assert later < first


@pytest.mark.parametrize("engine", [pytest.param("pool", marks=pytest.mark.slow), "local"])
def test_an_engine_does_every_request_of_every_round(make_job, engine):
    case = run_case(make_job(2, workers=2), engine, idle=False)
    assert len(case["rounds"]) == 2
    assert min(case["rounds"]) > 0
    assert case["start"] + sum(case["rounds"]) + case["stop"] <= case["whole"]
    doing = [doing for doing, _, _ in case["requests"]]
    assert doing.count("train") == 2 * 2  # rounds times sites
    assert doing.count("val") == 2  # the first round is validated where the second trains


def test_idle_sites_do_not_change_the_weights(make_job):
    job = make_job(2)
    moments = engine_run.Moments()
    engine_run.by_heartfed(job, True, moments)
    assert len(moments.rounds) == 2
    last = load_weights(Path(job.workspace) / "weights" / "fedavg-last.safetensors")
    for name, values in initial_weights(job).items():
        np.testing.assert_allclose(last[name], values, rtol=1e-6)


def case_of(round_seconds, whole):
    train = [("train", "a", 1.0), ("train", "b", 1.0)]
    requests = [*train, *train, ("val", "a", 0.5), ("val", "b", 0.25)]
    return {
        "start": 3.0,
        "rounds": [9.0, round_seconds],
        "test": 0.0,
        "stop": 1.0,
        "whole": whole,
        "cpu": whole,
        "peak_bytes": 2**20,
        "requests": requests,
    }


def test_the_table_compares_with_the_pool_and_with_flower():
    results = {"0/torch": 1.0}
    for engine, whole in zip(engine_run.ENGINES, (5.0, 8.0, 6.0, 12.0, 15.0), strict=True):
        results[f"quiet/{engine}/0"] = case_of(1.5 if engine == "pool" else 3.0, whole)
    found = figures(results, "", workers=2)
    assert found["ray"]["to_pool"] == 2.0
    assert found["ray"]["faster_than_flower"] == 2.0
    assert found["ray"]["faster_than_quickstart"] == 2.5
    assert found["ray"]["start"] == 2.0
    assert len(table(found)) == 2 + len(engine_run.ENGINES)
    assert packing(case_of(1.5, 5.0) | {"requests": []}, 2) is None
    assert packing(case_of(1.5, 5.0), 2) == pytest.approx((9.0 + 1.5) / (2 * 1.0 + 0.5))


def test_memory_is_that_of_all_processes():
    size = 40 * 2**20
    with ProcessWatch(os.getpid(), every=0.02) as watch, mmap.mmap(-1, size) as block:
        before = memory_of(os.getpid())
        block.write(b"1" * size)  # new memory: an array might reuse memory that was freed before
        assert memory_of(os.getpid()) - before > 30 * 2**20
        end = time.monotonic() + 60
        while watch.peak < before + 30 * 2**20 and time.monotonic() < end:
            time.sleep(0.02)
    assert watch.peak >= before + 30 * 2**20
    assert watch.cpu_seconds > 0
