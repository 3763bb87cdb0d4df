"""What a site answers and keeps, with training and predictions that are given."""

from dataclasses import replace

import numpy as np
import pytest
from support.made_cohorts import made_cohort, made_shard
from support.rules import even_rule
from support.untrained_sites import GivenTraining, job_of, nothing_of, site_of

from clients import local_evaluation, local_training, shared_evaluation
from clients.client_state import ENTRIES, EXTRA, OPTIMIZER
from clients.local_evaluation import evaluate_site
from clients.local_objectives import LOCAL_OBJECTIVES
from clients.local_objectives.base import LocalObjective
from clients.local_training import (
    site_info,
    site_state,
    train_site,
    withhold_small_counts,
)
from clients.personalization.own_model import OwnModel
from fl.data.cohort import Cohort
from fl.ecg.tasks import RHYTHM
from fl.evaluation.decisions.score_histograms import PATIENT
from fl.training.losses import example_losses, mean_loss
from fl.training.state_dict import local_entries
from partitions.splits import TEST, VAL
from server.app import initial_extra, initial_weights

N_CLASSES = len(RHYTHM.classes)
# Five patients: classes 0 and 1 are shown by two and three of them.
COHORT = made_cohort("abcde", [[0], [0], [1], [1], [1]])
RULE = even_rule(RHYTHM.classes)


@pytest.fixture
def training(monkeypatch):
    given = GivenTraining()
    monkeypatch.setattr(local_training, "fit", given)
    return given


@pytest.fixture
def predictions(monkeypatch):
    """Probabilities that grow from example to example."""

    def predict(network, cohort, device):
        return np.linspace(0.2, 0.7, len(cohort) * N_CLASSES).reshape(len(cohort), N_CLASSES)

    monkeypatch.setattr(local_evaluation, "predict", predict)
    monkeypatch.setattr(shared_evaluation, "predict", predict)
    return predict(None, COHORT, "cpu")


@pytest.mark.parametrize(
    ("min_count", "sent"), [(0, (3, 2, 90, 0)), (2, (3, 2, 0, 0)), (3, (3, 0, 0, 0))]
)
def test_counts_of_too_few_patients_do_not_leave_the_site(min_count, sent):
    counts, patients = np.array([3.4, 1.6, 90.0, 0.2]), np.array([3, 2, 1, 1])
    assert withhold_small_counts(min_count, counts, patients) == sent


def test_a_site_says_how_many_patients_each_split_has(tmp_path):
    site = site_of(tmp_path, COHORT, val=COHORT.take(np.arange(2)), test=nothing_of(COHORT))
    info = site_info(site, 0)
    assert (info.site, info.n_train, info.n_val, info.n_test) == ("site-1", 5, 2, 0)
    assert info.n_records == 5


def test_windows_of_one_patient_are_one_patient(tmp_path):
    site = site_of(tmp_path, partly_annotated())
    info = site_info(site, 1)
    assert (info.n_train, info.n_val, info.n_test) == (4, 4, 4)
    assert info.n_records == 4  # of the recording with two, an epoch takes one
    assert site_info(site, 0).n_records == 5


def partly_annotated():
    """Four of five annotate class 2, two record lead 3; two are of the same recording."""
    labels, leads = np.zeros((5, N_CLASSES), dtype=np.int8), np.ones((5, 12), dtype=bool)
    labels[0, 2], labels[1, 2] = -1, 1
    leads[:3, 3] = False
    shard = made_shard("abcdd", lead_mask=leads, recordings=list("rstuu"))
    return Cohort.of(RHYTHM, [replace(shard, labels=labels)])


@pytest.mark.parametrize(
    ("min_count", "per_recording", "n", "class_2", "lead_3"),
    [(0, 0, 5, 4, 2), (1, 0, 5, 4, 2), (2, 0, 5, 4, 0), (4, 0, 5, 0, 0), (0, 1, 4, 3, 1)],
)
def test_the_reply_counts_the_records_of_an_epoch(
    tmp_path, training, min_count, per_recording, n, class_2, lead_3
):
    job = job_of(tmp_path, weighting="records", per_recording=per_recording)
    site = site_of(tmp_path, partly_annotated(), min_count)
    reply = train_site(site, job, initial_weights(job), 1)
    assert reply.n_records == n
    assert reply.annotated == (n, n, class_2, *[n] * 6)
    assert reply.recorded == (*[n] * 3, lead_3, *[n] * 8)
    assert (reply.site, reply.loss_sum, reply.n_seen, reply.steps) == ("site-1", 6.5, 9, 3)


@pytest.mark.parametrize(("min_count", "n_patients", "class_2"), [(0, 4, 3), (4, 4, 0), (5, 0, 0)])
def test_by_patients_the_reply_counts_the_patients_of_each_class_and_lead(
    tmp_path, training, min_count, n_patients, class_2
):
    job = job_of(tmp_path, weighting="patients", per_recording=0)
    # The fourth patient has two records, and the first one does not annotate class 2.
    site = site_of(tmp_path, partly_annotated(), min_count)
    reply = train_site(site, job, initial_weights(job), 1)
    assert (reply.n_records, reply.n_patients) == (5, n_patients)
    full = 4 if min_count < 5 else 0
    assert reply.annotated == (full, full, class_2, *[full] * 6)
    assert reply.recorded == (*[full] * 3, 0 if min_count else 1, *[full] * 8)


def test_the_loss_counts_patients_alike_if_the_run_says_so(tmp_path, training):
    for loss_weights in ("records", "patients"):
        job = job_of(tmp_path, loss_weights=loss_weights)
        train_site(site_of(tmp_path, COHORT), job, initial_weights(job), 1)
    assert [call["plan"].by_patient for call in training.calls] == [False, True]


def test_a_site_sends_the_weights_that_it_trained(tmp_path, training):
    job = job_of(tmp_path)
    start = initial_weights(job)
    reply = train_site(site_of(tmp_path, COHORT), job, start, 2)
    name = next(name for name in start if name.endswith("weight"))
    np.testing.assert_allclose(reply.weights[name], start[name] + 1)
    assert reply.weights.keys() == start.keys()
    assert reply.extra == {}
    assert training.calls[0]["plan"].round == 2
    assert training.calls[0]["penalty"] is None


@pytest.mark.parametrize(("given", "mu"), [({}, 0.0), ({"mu": 0.1}, 0.1)])
def test_fedprox_has_its_term_only_if_the_request_names_mu(tmp_path, training, given, mu):
    for proximal in ("decoupled", "loss"):
        job = job_of(tmp_path, "fedprox", proximal=proximal)
        train_site(site_of(tmp_path, COHORT), job, initial_weights(job), 1, **given)
    decoupled, loss = training.calls
    assert (decoupled["penalty"], decoupled["pull"]) == (None, mu)
    assert (loss["penalty"] is not None) is (mu > 0)
    assert loss["pull"] == 0


def test_the_optimizer_goes_on_from_the_round_before(tmp_path, training):
    job, site = job_of(tmp_path), site_of(tmp_path, COHORT)
    for number in (1, 2, 3):
        train_site(site, job, initial_weights(job), number)
    found = [{k: v.item() for k, v in call["state"].items()} for call in training.calls]
    assert found == [{}, {"0/step": 1}, {"0/step": 2}]
    # Nothing will read the state of the last round.
    assert site_state(site, job, OPTIMIZER).before(9)["0/step"] == [2]


def test_a_fresh_optimizer_is_neither_kept_nor_read(tmp_path, training):
    job, site = job_of(tmp_path), site_of(tmp_path, COHORT)
    train_site(site, job, initial_weights(job), 1)
    fresh = job_of(tmp_path, optimizer_state="fresh")
    train_site(site, fresh, initial_weights(job), 2)
    assert training.calls[1]["state"] == {}
    assert site_state(site, job, OPTIMIZER).before(9)["0/step"] == [1]


def test_strategies_and_kinds_of_state_are_kept_apart(tmp_path):
    site, job = site_of(tmp_path, COHORT), job_of(tmp_path)
    site_state(site, job, EXTRA).put(1, {"w": np.ones(1)})
    assert site_state(site, job, OPTIMIZER).before(2) == {}
    assert site_state(site, job_of(tmp_path, "scaffold"), EXTRA).before(2) == {}
    assert list(site_state(site, job, EXTRA).before(2)) == ["w"]


@pytest.mark.parametrize(("kind", "kept"), [(EXTRA, 2), (OPTIMIZER, 2), (ENTRIES, 4)])
def test_only_a_sites_own_entries_are_kept_of_every_round(tmp_path, kind, kept):
    state = site_state(site_of(tmp_path, COHORT), job_of(tmp_path), kind)
    for number in (1, 2, 3, 4):
        state.put(number, {"w": np.ones(1)})
    assert len(list(state.folder.iterdir())) == kept


def test_scaffold_keeps_and_sends_what_the_rates_of_its_steps_give(tmp_path, training):
    job, site = job_of(tmp_path, "scaffold"), site_of(tmp_path, COHORT)
    weights, control = initial_weights(job), initial_extra(job)
    first = train_site(site, job, weights, 1, extra=control)
    second = train_site(site, job, weights, 2, extra=control)
    kept = site_state(site, job, EXTRA).before(3)
    for name in control:
        # Weights grow by 1, and the rates of the steps sum to 0.5.
        np.testing.assert_allclose(first.extra[name], -2, rtol=1e-4)
        np.testing.assert_allclose(second.extra[name], -2, rtol=1e-4)
        np.testing.assert_allclose(kept[name], -4, rtol=1e-4)


def test_scaffold_leaves_the_control_variate_of_a_class_that_a_site_does_not_annotate(
    tmp_path, training
):
    labels = COHORT.labels.copy()
    labels[:, 2] = -1
    shard = replace(made_shard("abcde", [[0], [0], [1], [1], [1]]), labels=labels)
    job, site = job_of(tmp_path, "scaffold"), site_of(tmp_path, Cohort.of(RHYTHM, [shard]))
    control = initial_extra(job)
    found = train_site(site, job, initial_weights(job), 1, extra=control).extra["head.bias"]
    np.testing.assert_allclose(found, [-2, -2, 0, *[-2] * 6], rtol=1e-4)


def test_plain_strategies_keep_only_the_optimizer(tmp_path, training):
    job, site = job_of(tmp_path), site_of(tmp_path, COHORT)
    train_site(site, job, initial_weights(job), 1)
    assert [path.parent.name for path in site.folder.rglob("*.safetensors")] == [OPTIMIZER]


def test_fedbn_sends_all_but_its_own_entries_and_goes_on_from_them(tmp_path, training):
    job, site = job_of(tmp_path, "fedbn"), site_of(tmp_path, COHORT)
    start = initial_weights(job)
    own = local_entries("fedbn", "resnet1d", "rhythm")
    for number in (1, 2):
        reply = train_site(site, job, start, number)
        assert reply.weights.keys() == start.keys() - own
        kept = site_state(site, job, ENTRIES).before(number + 1)
        assert kept.keys() == own
        name = next(name for name in sorted(own) if name.endswith("weight"))
        np.testing.assert_allclose(kept[name], start[name] + number)
        shared = next(name for name in reply.weights if name.endswith("weight"))
        np.testing.assert_allclose(reply.weights[shared], start[shared] + 1)


def test_fedbn_is_evaluated_with_the_entries_of_the_round_asked_for(
    tmp_path, training, predictions, monkeypatch
):
    job, site = job_of(tmp_path, "fedbn"), site_of(tmp_path, COHORT)
    start = initial_weights(job)
    for number in (1, 2, 3):
        train_site(site, job, start, number)
    name = min(n for n in local_entries("fedbn", "resnet1d", "rhythm") if n.endswith("weight"))
    loaded = []
    monkeypatch.setattr(local_evaluation, "set_weights", lambda _, w: loaded.append(w[name]))
    for number in (0, 1, 2, 3):
        evaluate_site(site, job, start, VAL, None, number)
    for number, values in enumerate(loaded):
        np.testing.assert_allclose(values, start[name] + number)


@pytest.mark.parametrize("strategy", ["fedavg", "fedbn"])
def test_weights_that_were_just_validated_need_not_be_loaded_again(
    strategy, tmp_path, training, predictions, monkeypatch
):
    """The network has them already, at a hospital with entries of its own too."""
    job, site = job_of(tmp_path, strategy), site_of(tmp_path, COHORT)
    start = initial_weights(job)
    train_site(site, job, start, 1)
    expected = train_site(site, job, start, 2).weights
    evaluate_site(site, job, start, VAL, None, 1)
    monkeypatch.setattr(local_training, "set_weights", None)  # calling it would be an error
    found = train_site(site, job, start, 2, validated=True).weights
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert np.array_equal(value, expected[name])


@pytest.fixture
def seven_steps(monkeypatch):
    """A strategy whose sites take seven steps before they test."""
    return own_model(monkeypatch, changed=False)


def own_model(monkeypatch, changed):
    """A strategy whose sites do this before they test."""
    half = LocalObjective(
        before_test=lambda network, *_: OwnModel(network=network, steps=7, changed=changed)
    )
    monkeypatch.setitem(LOCAL_OBJECTIVES, "finetune", half)
    return "finetune"


def test_a_site_takes_steps_before_it_tests_and_not_before_it_validates(
    tmp_path, predictions, seven_steps
):
    job, site = job_of(tmp_path, seven_steps), site_of(tmp_path, COHORT)
    steps = {
        s: evaluate_site(site, job, initial_weights(job), s, RULE, 1).steps for s in (VAL, TEST)
    }
    assert steps == {VAL: 0, TEST: 7}


@pytest.mark.parametrize("changed", [True, False])
def test_a_model_of_its_own_is_judged_at_the_sites_own_thresholds(
    tmp_path, predictions, monkeypatch, changed
):
    given = []
    answer = shared_evaluation.answer
    monkeypatch.setattr(
        shared_evaluation,
        "answer",
        lambda rule, *rest: given.append(rule) or answer(rule, *rest),
    )
    job = job_of(tmp_path, own_model(monkeypatch, changed))
    sent = even_rule(RHYTHM.classes, 0.9)
    val = COHORT.take(np.arange(4))
    site = site_of(tmp_path, COHORT, val=val)
    evaluate_site(site, job, initial_weights(job), TEST, sent, 1)
    (used,) = given
    own = set(val.sources.tolist()) if changed else set()
    assert used.calibration.keys() == {"pooled"} | own
    assert (used != sent) is changed


def test_a_test_needs_the_rule_of_the_weights(tmp_path, predictions):
    job, site = job_of(tmp_path), site_of(tmp_path, COHORT)
    with pytest.raises(ValueError, match="a test needs the decision rule"):
        evaluate_site(site, job, initial_weights(job), TEST, None, 1)
    assert not site.folder.exists()


def test_most_strategies_take_no_step_before_a_test(tmp_path, predictions):
    job = job_of(tmp_path)
    reply = evaluate_site(site_of(tmp_path, COHORT), job, initial_weights(job), TEST, RULE, 1)
    assert reply.steps == 0


@pytest.mark.parametrize("min_count", [0, 5])
def test_a_test_with_enough_records_is_reported(tmp_path, predictions, min_count):
    job, site = job_of(tmp_path), site_of(tmp_path, COHORT, min_count)
    reply = evaluate_site(site, job, initial_weights(job), TEST, RULE, 1)
    assert reply.n_records == 5
    reported = COHORT.without_rare(min_count).labels
    assert reply.loss_sum == pytest.approx(5 * mean_loss(RHYTHM, reported, predictions))
    assert reply.report is not None
    assert reply.by_source == {}
    assert (site.folder / "predictions-fedavg.csv").is_file()


def test_a_test_of_too_few_records_stays_at_the_site(tmp_path, predictions):
    job, site = job_of(tmp_path), site_of(tmp_path, COHORT, min_count=6)
    reply = evaluate_site(site, job, initial_weights(job), TEST, RULE, 1)
    assert (reply.n_records, reply.loss_sum, reply.report) == (0, 0, None)
    assert (site.folder / "predictions-fedavg.csv").is_file()


def test_a_site_without_test_records_has_nothing_to_report(tmp_path, predictions):
    job, site = job_of(tmp_path), site_of(tmp_path, COHORT, test=nothing_of(COHORT))
    reply = evaluate_site(site, job, initial_weights(job), TEST, RULE, 1)
    assert (reply.n_records, reply.loss_sum, reply.report) == (0, 0, None)
    assert not site.folder.exists()


def two_sources():
    """Three records of source `one`, two of source `two`; each record is a patient's."""
    shards = [
        made_shard("abc", [[0], [0], [1]], source="one"),
        made_shard("aa", [[0], []], source="two"),
    ]
    return Cohort.of(RHYTHM, shards)


@pytest.mark.parametrize(
    ("min_count", "patients", "rows"),
    [(0, {"one": 3, "two": 1}, 5), (1, {"one": 3, "two": 1}, 5), (2, {"one": 3, "two": 0}, 3)],
)
def test_a_source_of_too_few_patients_is_named_but_not_counted(
    tmp_path, predictions, min_count, patients, rows
):
    cohort, job = two_sources(), job_of(tmp_path)
    reply = evaluate_site(
        site_of(tmp_path, cohort, min_count), job, initial_weights(job), VAL, None, 1
    )
    assert {name: counted.n_patients for name, counted in reply.by_source.items()} == patients
    assert reply.n_records == rows
    # The two records of source `two` are one patient's, who counts once.
    weight = np.array([1, 1, 1, 0.5, 0.5])[:rows]
    # No loss tells of a class that fewer than `min_count` patients of its source show or lack.
    parts = [cohort.take(of).without_rare(min_count).labels for of in ([0, 1, 2], [3, 4])]
    losses = example_losses(RHYTHM, np.concatenate(parts)[:rows], predictions[:rows])
    assert reply.loss_sum == pytest.approx(weight @ losses)
    assert reply.n_patients == sum(patients.values())
    assert reply.report is None


def test_a_source_that_is_only_trained_on_is_named(tmp_path, predictions):
    cohort, job = two_sources(), job_of(tmp_path)
    site = site_of(tmp_path, cohort, val=cohort.take(np.arange(3)))
    reply = evaluate_site(site, job, initial_weights(job), VAL, None, 1)
    assert list(reply.by_source) == ["one", "two"]
    assert reply.by_source["two"].n_patients == 0
    assert reply.by_source["one"].scores.positive[0].sum() == 2 * PATIENT
    assert reply.by_source["one"].scores.negative[0].sum() == PATIENT


def test_a_site_without_validation_records_has_no_loss(tmp_path, predictions):
    cohort, job = two_sources(), job_of(tmp_path)
    site = site_of(tmp_path, cohort, val=nothing_of(cohort))
    reply = evaluate_site(site, job, initial_weights(job), VAL, None, 1)
    assert (reply.n_records, reply.loss_sum) == (0, 0)


def test_a_class_that_is_rare_in_a_source_is_not_counted_with_it(tmp_path, predictions):
    cohort, job = two_sources(), job_of(tmp_path)
    reply = evaluate_site(site_of(tmp_path, cohort, 1), job, initial_weights(job), VAL, None, 1)
    scores = reply.by_source["two"].scores
    assert [scores.positive[c].sum() for c in (0, 1)] == [PATIENT / 2, 0]
    assert [scores.negative[c].sum() for c in (0, 1)] == [
        PATIENT / 2,
        0,
    ]  # no record of it shows class 1
