"""Whatever one site sends, in answer to any message, the run ends as it should without it."""

import io
import json
from contextlib import suppress

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st
from support.prepared_sites import PreparedSites, federation_of, prepared_job, start
from support.rounds import Watching

from fl.messages.flower_arrays import to_array_record
from fl.util.errors import FederationError
from server.aggregation.strategies import STRATEGIES
from server.engines.in_process import LocalGrid
from server.rounds.final_evaluation import final_measures
from server.rounds.round_loop import run_rounds
from server.rounds.site_requests import discover_sites

KINDS = ("query", "train", "evaluate")
LIAR, NODE = "site-2", "node 1002"


def lying(kinds, change, sites=None):
    """Three prepared sites, of which the second changes its replies to some kinds of message."""
    honest = sites or PreparedSites()

    def client(message, context):
        reply = honest(message, context)
        if context.node_config["partition-id"] == 1 and message.metadata.message_type in kinds:
            return change(reply, message) or reply
        return reply

    return client


def whole_run(tmp_path, client, rounds=2, strategy="fedavg", nodes=None, **changed):
    """A deployed run to its end, the last test included: its progress, and whom it named."""
    job = prepared_job(tmp_path, strategy=strategy, rounds=rounds, **changed)
    job = job.model_copy(update={"run": "r", "nodes": nodes or {}})
    watching = Watching()
    federation = federation_of(job, client, watching)
    progress = run_rounds(federation, STRATEGIES[strategy].make(job.config), start())
    final_measures(federation, progress)
    named = {site for _, site, _ in watching.failed} | {f["site"] for f in progress.failures}
    return progress, named, watching


def raised(error):
    def change(reply, message):
        raise error

    return change


def metric(name, value):
    def change(reply, message):
        if "metrics" in reply.content and name in reply.content["metrics"]:
            reply.content["metrics"][name] = value

    return change


def config(name, value):
    def change(reply, message):
        if name in reply.content["config"]:
            reply.content["config"][name] = value

    return change


def weights(make):
    """Every array of the reply is replaced by what `make` makes of it."""

    def change(reply, message):
        record = reply.content.get("arrays")
        if record:
            made = {name: make(array.numpy()) for name, array in record.items()}
            reply.content["arrays"] = to_array_record(made)

    return change


def bytes_that_are_no_array(reply, message):
    if reply.content.get("arrays"):
        odd = Array(dtype="float32", shape=(2,), stype="numpy.ndarray", data=b"\x93NUMPY\x00")
        reply.content["arrays"] = ArrayRecord({"w": odd})


def an_array_of_more_memory_than_there_is(reply, message):
    """A header of a few bytes, for which numpy would take 4 EB before it reads on."""
    if reply.content.get("arrays"):
        file = io.BytesIO()
        header = {"descr": "<f4", "fortran_order": False, "shape": (2**60,)}
        np.lib.format.write_array_header_1_0(file, header)
        odd = Array(dtype="float32", shape=(2,), stype="numpy.ndarray", data=file.getvalue())
        reply.content["arrays"] = ArrayRecord({"w": odd})


def nothing(reply, message):
    return Message(RecordDict(), reply_to=message)


ATTACKS = {
    "a value that overflows every type (1e300)": weights(lambda a: np.full(a.shape, 1e300)),
    "a value that overflows the average (1e38)": weights(lambda a: np.full_like(a, 1e38)),
    "text in the place of numbers": weights(lambda a: np.full(a.shape, "x")),
    "complex numbers": weights(lambda a: a.astype(np.complex64)),
    "another shape": weights(lambda a: a[..., None]),
    "bytes that are no array": bytes_that_are_no_array,
    "more memory than there is": an_array_of_more_memory_than_there_is,
    "an inflated count (1e12)": metric("num-examples", 10**12),
    "inflated patients": metric("train-patients", 10**12),
    "inflated patients in the first words": metric("n-train", 10**12),
    "inflated counts of each class": metric("annotated", [10**12] * 9),
    "inflated patients of a source": metric("n-patients", [2**40]),
    "a count that is no number": metric("num-examples", float("inf")),
    "a loss that decides every average": metric("loss-sum", 1e300),
    "steps without end": metric("steps", 2**61),
    "a negative loss in validation": metric("loss-sum", -1e9),
    "another site's name": config("site", "site-1"),
    "a name that leads to a folder": config("site", "../site-2"),
    "a report nested without end": config("report", "[" * 100_000),
    "a report of other classes": config("report", json.dumps({"classes": {"x": 1}})),
    "a million sources": config("sources", ["s"] * 1_000_000),
    "no content at all": nothing,
    "an arithmetic error": raised(OverflowError(34, "too large")),
    "a recursion": raised(RecursionError("too deep")),
    "a key error": raised(KeyError("x")),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_costs_its_site_alone(tmp_path, attack):
    """In answer to training and to evaluation; what the first words do is tested below."""
    progress, named, _ = whole_run(tmp_path, lying({"train", "evaluate"}, ATTACKS[attack]))
    assert progress.round == 2
    assert named <= {LIAR, NODE}
    assert np.abs(progress.weights["w"]).max() < 10


@pytest.mark.parametrize(
    ("attack", "kind"),
    [
        ("a value that overflows every type (1e300)", "train"),
        ("a value that overflows the average (1e38)", "train"),
        ("an inflated count (1e12)", "train"),
        ("more memory than there is", "train"),
        ("inflated counts of each class", "train"),
        ("inflated patients in the first words", "query"),
        ("another site's name", "evaluate"),
        ("a report nested without end", "evaluate"),
    ],
)
def test_who_attacks_is_named(tmp_path, attack, kind):
    _, named, _ = whole_run(tmp_path, lying({kind}, ATTACKS[attack]))
    assert named == {NODE if kind == "query" else LIAR}


def test_an_update_that_no_training_makes_is_refused_and_its_site_named(tmp_path):
    far = weights(lambda a: (a * 1000).astype(a.dtype))
    job = prepared_job(tmp_path, 4, rounds=1)
    sites = lying({"train"}, far, PreparedSites(n_train=(10, 10, 10, 10)))
    progress = run_rounds(
        federation_of(job, sites, Watching()), STRATEGIES["fedavg"].make(job.config), start()
    )
    (failure,) = progress.failures
    assert failure["site"] == LIAR
    assert failure["reason"] == "its update is refused: w changed by 2000, more than 1000"
    np.testing.assert_allclose(progress.weights["w"], (1 + 3 + 4) / 3, rtol=1e-6)


def test_an_update_hundreds_of_times_too_long_is_clipped_and_its_site_named(tmp_path):
    far = weights(lambda a: (a * 400).astype(a.dtype))
    sites = PreparedSites(n_train=(10, 10, 10, 10))
    job = prepared_job(tmp_path, 4, rounds=1, clip_updates=3.0)
    watching = Watching()
    federation = federation_of(job, lying({"train"}, far, sites), watching)
    progress = run_rounds(federation, STRATEGIES["fedavg"].make(job.config), start())
    (failure,) = progress.failures
    assert failure["site"] == LIAR
    assert "more than 3, and is clipped to that length (--clip-updates)" in failure["reason"]
    # Sites add 1, 3, 4 and, in place of 800, the median of 1, 3, 4 and 800.
    np.testing.assert_allclose(progress.weights["w"], (1 + 3.5 + 3 + 4) / 4, rtol=1e-6)


def test_first_words_of_too_many_sites_stop_the_run_by_name(tmp_path):
    def client(message, context):
        reply = PreparedSites()(message, context)
        if context.node_config["partition-id"]:
            reply.content["metrics"]["n-val"] = 10**12
        return reply

    with pytest.raises(FederationError, match=r"1 of 3 sites .*node 1002: .*; node 1003: "):
        whole_run(tmp_path, client)


def test_what_a_site_says_of_its_failure_is_one_short_line(tmp_path):
    text = "\x1b[2J\nround 9: all is well\u202e" + "x" * 10_000

    def change(reply, message):
        return Message(Error(2, text), reply_to=message)

    _, _, watching = whole_run(tmp_path, lying({"train", "query"}, change))
    for _, _, note in watching.failed:
        assert note.isprintable()
        assert len(note) < 400


def test_a_liar_among_the_first_words_is_left_out_for_the_run(tmp_path):
    job = prepared_job(tmp_path).model_copy(update={"run": "r"})
    grid = LocalGrid(lying({"query"}, config("site", "site-1")), 3)
    found = discover_sites(grid, job, Watching())
    assert list(found.sites) == ["site-1", "site-3"]
    (refused,) = found.refused
    assert (refused["round"], refused["site"]) == (0, NODE)
    assert "calls itself 'site-1', as another does" in refused["reason"]


# Random replies: some well-formed, most not.
numbers = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.floats(), st.sampled_from([0, 1, 10, 20, 1e300, 2**40])
)
metrics = st.one_of(numbers, st.lists(st.integers(-1, 2**62), max_size=12), st.lists(st.floats()))
texts = st.one_of(st.text(max_size=20), st.just("{}"), st.just("null"), st.just("[[1]]"))
configs = st.one_of(texts, st.lists(texts, max_size=3), st.booleans(), st.integers(0, 9))
dtypes = st.sampled_from(["f2", "f4", "f8", "i1", "i8", "u8", "?", "c8", "U2"])
shapes = st.sampled_from([(), (0,), (2,), (1, 9, 256), (9, 2), (1, 9, 2), (3, 1, 2)])
values = st.sampled_from([0, 1, -1, 3e4])


@st.composite
def changes(draw):
    """A change of one reply: of numbers, of texts, of arrays, or all of it."""
    kind = draw(st.sampled_from(["metrics", "config", "arrays", "drop", "error", "empty"]))
    name = draw(st.integers(0, 30))
    value = draw({"metrics": metrics, "config": configs}.get(kind, texts))
    made = np.full(draw(shapes), draw(values)).astype(draw(dtypes))

    def change(reply, message):
        if kind == "empty":
            return Message(RecordDict(), reply_to=message)
        if kind == "error":
            return Message(Error(name, str(value)), reply_to=message)
        present = sorted(reply.content)
        if kind == "drop":
            del reply.content[present[name % len(present)]]
            return None
        records = [r for r in present if r.endswith(kind)]
        if not records:
            return None
        record = reply.content[records[name % len(records)]]
        key = sorted(record)[name % len(record)] if record else "x"
        if kind == "arrays":
            record[key] = to_array_record({key: made})[key]
        else:
            holder = MetricRecord if kind == "metrics" else ConfigRecord
            reply.content[records[name % len(records)]] = holder({**record, key: value})
        return None

    return change


@given(st.sets(st.sampled_from(KINDS), min_size=1), st.lists(changes(), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_random_replies_end_no_run_and_name_no_other_site(tmp_path_factory, kinds, made):
    def all_of(reply, message):
        for change in made:
            if reply.has_error():
                break
            # Some values Flower itself does not carry.
            with suppress(TypeError, ValueError):
                reply = change(reply, message) or reply
        return reply

    folder = tmp_path_factory.mktemp("run")
    # Keys are approved for names: under another one a site takes no part.
    nodes = {f"site-{number}": 1000 + number for number in (1, 2, 3)}
    progress, named, _ = whole_run(folder, lying(kinds, all_of), rounds=1, nodes=nodes)
    assert progress.round == 1
    assert named <= {LIAR}
    assert np.isfinite(progress.weights["w"]).all()


def test_an_honest_run_names_nobody_and_has_the_same_bits_with_and_without_clipping(tmp_path):
    found = []
    for name, multiple in (("with", 10.0), ("without", 0.0)):
        folder = tmp_path / name
        folder.mkdir()
        progress, named, _ = whole_run(folder, PreparedSites(), clip_updates=multiple)
        assert named == set()
        found.append(progress.weights["w"].tobytes())
    assert found[0] == found[1]


def test_few_patients_and_a_lie_about_them_do_not_move_the_weights(tmp_path):
    """A site that says 1e12 in its first words and later alike takes no part at all."""

    def change(reply, message):
        for name in ("n-train", "n-records", "num-examples", "train-patients"):
            metric(name, 10**12)(reply, message)

    progress, named, _ = whole_run(tmp_path, lying(KINDS, change), rounds=1)
    assert named == {NODE}
    np.testing.assert_allclose(progress.weights["w"], (1 + 3) / 2)  # of site-1 and site-3 alone
