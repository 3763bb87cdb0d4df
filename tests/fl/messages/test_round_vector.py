"""A round's answers as one vector: the sum of vectors decodes to the sum of the answers."""

import numpy as np
import pytest
from support.prepared_sites import CLASSES, ranked, update

from fl.config.run_config import RunConfig
from fl.ecg.tasks import RHYTHM
from fl.evaluation.decisions.score_histograms import empty_histograms
from fl.messages.payloads import EvaluationReply, SourceValidation
from fl.messages.round_vector import ALL_SITES, round_vector
from fl.training.state_dict import unmerged_entries

START = {"w": np.array([1.0, 2.0], np.float32)}
CONFIG = RunConfig(averaging="plain")


def validation(sources, loss=1.5):
    by_source = {name: SourceValidation(n_patients=20, scores=ranked(0.8)) for name in sources}
    n = 20 * len(by_source)
    return EvaluationReply(
        site="a", n_records=n, n_patients=n, loss_sum=loss, by_source=by_source, report=None
    )


def trained(value, **counts):
    return update("a", {"w": np.full(2, value, np.float32)}, **counts)


def test_what_went_in_comes_out_added():
    layout = round_vector(CONFIG, START, {}, most=40, sources=("one", "two"))
    replies = [
        (trained(2.0, n_records=10, loss_sum=0.25), validation(["one"], 0.5)),
        (trained(6.0, n_records=30, loss_sum=1.5), validation(["one", "two"], 0.125)),
        (None, validation(["two"], 0.0)),
    ]
    total = sum(layout.encode(*reply) for reply in replies)
    assert total.shape == (layout.size,)
    found, validated = layout.decode(total)
    np.testing.assert_array_equal(found.weights["w"], [5, 5])
    assert (found.n_records, found.n_patients, found.n_seen, found.steps) == (40, 20, 20, 4)
    assert (found.loss_sum, validated.loss_sum) == (1.75, 0.625)
    assert (found.site, validated.site) == (ALL_SITES, ALL_SITES)
    assert validated.n_patients == 80
    assert {k: v.n_patients for k, v in validated.by_source.items()} == {"one": 40, "two": 40}
    for source in ("one", "two"):
        np.testing.assert_array_equal(
            validated.by_source[source].scores.positive, 2 * ranked(0.8).positive
        )


def test_a_source_that_nobody_has_patients_of_is_named_with_none():
    layout = round_vector(CONFIG, START, {}, most=None, sources=("none", "one"))
    trained_, validated = layout.decode(layout.encode(None, validation(["one"])))
    assert trained_ is None
    assert validated.by_source["none"].n_patients == 0
    empty = empty_histograms(CLASSES)
    assert np.array_equal(validated.by_source["none"].scores.positive, empty.positive)


def test_a_round_without_validation_holds_updates_alone():
    layout = round_vector(CONFIG, START, {}, most=10, sources=None)
    found, validated = layout.decode(layout.encode(trained(3.0), None))
    assert validated is None
    assert (found.weights["w"] == 3).all()


def test_records_of_a_source_that_was_not_announced_are_refused():
    layout = round_vector(CONFIG, START, {}, most=None, sources=("one",))
    with pytest.raises(ValueError, match="records of two were not announced"):
        layout.encode(None, validation(["two"]))


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), 1e30])
def test_a_loss_without_room_is_refused(loss):
    layout = round_vector(CONFIG, START, {}, most=10, sources=None)
    with pytest.raises(ValueError, match="too large for 64-bit sums"):
        layout.encode(trained(3.0, loss_sum=loss), None)


def test_entries_that_are_not_merged_have_no_place():
    config = RunConfig(strategy="fedbn", model="reslstm_temporalse")
    own = sorted(unmerged_entries(config))
    sent = dict.fromkeys([*own, "head.bias"], np.zeros(len(RHYTHM.classes), np.float32))
    whole = round_vector(config, sent, {}, most=10, sources=None)
    merged = round_vector(config, {"head.bias": sent["head.bias"]}, {}, most=10, sources=None)
    assert own
    assert whole.size == merged.size
