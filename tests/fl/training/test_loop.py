"""One round of training at a site follows its plan, and repeats to the bit."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.made_cohorts import without_features
from support.plans import PLAN

from fl.ecg.tasks import BEAT, RHYTHM, RHYTHM_SIGNAL
from fl.models import build_network
from fl.training import loop
from fl.training.class_imbalance import epoch_order
from fl.training.loop import fit, learning_rate, predict
from fl.training.losses import mean_loss, task_loss
from fl.training.state_dict import get_weights
from fl.util.random_streams import stream, torch_seed


def fresh(task=RHYTHM):
    torch.manual_seed(0)
    return build_network("resnet1d", task)


def weights_after(cohort, plan=PLAN, network=None, **options):
    network = network or fresh(cohort.task)
    fitted = fit(network, cohort, plan, **options)
    return get_weights(network), fitted


def same(one, other):
    return all(np.array_equal(one[k], other[k]) for k in one)


def test_a_class_that_is_not_annotated_has_no_gradient():
    logits = torch.randn(4, 9, requires_grad=True)
    labels = torch.ones(4, 9)
    labels[:, 2] = -1
    labels[0, 5] = -1
    task_loss(RHYTHM, logits, labels).backward()
    no_gradient = logits.grad == 0
    assert no_gradient[:, 2].all()
    assert no_gradient[0, 5]
    assert no_gradient.sum() == 5


def test_a_class_weighs_the_same_whether_the_others_are_annotated_or_not():
    grads = []
    for others in (0.0, -1.0):
        logits = torch.full((2, 9), 0.3, requires_grad=True)
        labels = torch.full((2, 9), others)
        labels[:, 1] = 1
        task_loss(RHYTHM, logits, labels).backward()
        grads.append(logits.grad[:, 1])
    torch.testing.assert_close(grads[0], grads[1])


@pytest.mark.parametrize("task", [RHYTHM, BEAT], ids=["rhythm", "beat"])
def test_the_loss_of_probabilities_is_the_loss_of_their_logits(task, rng):
    n = len(task.classes)
    logits = torch.from_numpy(rng.normal(size=(20, n)))
    labels = np.eye(n, dtype=np.int8)[rng.integers(0, n, 20)]
    if not task.exclusive:
        labels[:5, 3] = -1
    p = (logits.softmax(1) if task.exclusive else logits.sigmoid()).numpy()
    expected = task_loss(task, logits, torch.from_numpy(labels).double()).item()
    assert mean_loss(task, labels, p) == pytest.approx(expected)


def test_the_learning_rate_warms_up_once_and_falls_to_zero_over_the_whole_run():
    plan = replace(PLAN, rounds=10, lr=1.0)
    assert learning_rate(plan, 0.0) == pytest.approx(0.02)
    assert learning_rate(plan, 0.25) == pytest.approx(0.5, abs=0.01)  # half of the first 5%
    assert learning_rate(plan, 0.5) == pytest.approx(1.0, abs=0.01)
    assert learning_rate(replace(plan, round=6), 0.0) == pytest.approx(0.5)
    assert learning_rate(replace(plan, round=10), 1.0) == pytest.approx(0.0)


def test_a_schedule_may_restart_in_every_round_or_be_constant():
    plan = replace(PLAN, rounds=10, round=7, lr=1.0)
    restarting = replace(plan, restart=True)
    assert learning_rate(restarting, 0.0) == pytest.approx(0.02)
    assert learning_rate(restarting, 1.0) == pytest.approx(0.0)
    assert {learning_rate(replace(plan, constant=True), d) for d in (0.0, 0.5, 1.0)} == {1.0}


def test_a_running_mean_of_weights_ends_between_the_start_and_the_last_step(few):
    initial = build_network("resnet1d", RHYTHM)
    ends = []
    for ema in (0.0, 0.9):
        network = copy.deepcopy(initial)
        fit(network, few, replace(PLAN, ema=ema))
        ends.append(torch.nn.utils.parameters_to_vector(network.parameters()))
    start = torch.nn.utils.parameters_to_vector(initial.parameters())
    assert 0 < torch.dist(ends[1], start) < torch.dist(ends[0], start)


def test_a_round_starts_at_the_rate_at_which_the_last_one_ended():
    plan = replace(PLAN, rounds=7)
    for number in range(1, 7):
        after = replace(plan, round=number + 1)
        assert learning_rate(replace(plan, round=number), 1.0) == learning_rate(after, 0.0)


def test_the_same_plan_gives_the_same_bits(few):
    (first, _), (second, _) = (weights_after(few) for _ in range(2))
    assert same(first, second)


@pytest.mark.parametrize("change", [{"seed": 1}, {"site": "site-2"}, {"round": 2}])
def test_another_seed_site_or_round_takes_the_records_in_another_order(few, change):
    assert not same(weights_after(few)[0], weights_after(few, replace(PLAN, **change))[0])


def test_training_draws_from_its_own_stream_and_not_from_the_process(few):
    expected = weights_after(few)[0]
    torch.manual_seed(99)
    network = fresh()
    torch.rand(17)
    np.random.default_rng().random()
    assert same(weights_after(few, network=network)[0], expected)


def train_as_torch_does(network, cohort, plans):
    """The same steps written as in torch's examples: one AdamW object for all rounds."""
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=plans[0].weight_decay)
    network.train()
    for plan in plans:
        torch.manual_seed(torch_seed(plan.seed, "dropout", plan.site, plan.round))
        draws = stream(plan.seed, "fit", plan.site, plan.round)
        order = epoch_order(cohort, plan.imbalance, plan.per_recording, draws)
        batches = np.array_split(order, math.ceil(len(order) / plan.batch_size))
        for step, examples in enumerate(batches):
            optimizer.param_groups[0]["lr"] = learning_rate(plan, step / len(batches))
            batch = cohort.batch(examples, cohort.random_starts(examples, draws))
            logits = network(batch.signal, batch.lead_mask, batch.features)
            optimizer.zero_grad()
            task_loss(cohort.task, logits, batch.labels).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()


def test_two_rounds_that_keep_the_state_are_one_training_in_plain_torch(few):
    # Without features, whose branch learns twice as fast.
    few = without_features(few)
    network, reference = fresh(RHYTHM_SIGNAL), fresh(RHYTHM_SIGNAL)
    _, first = weights_after(few, network=network)
    kept, _ = weights_after(few, replace(PLAN, round=2), network=network, state=first.state)
    train_as_torch_does(reference, few, [PLAN, replace(PLAN, round=2)])
    for name, weights in get_weights(reference).items():
        np.testing.assert_allclose(kept[name], weights, rtol=0, atol=2e-5, err_msg=name)


def test_two_rounds_that_keep_the_state_repeat_to_the_bit(few):
    ends = []
    for _ in range(2):
        network = fresh()
        _, first = weights_after(few, network=network)
        _, second = weights_after(few, replace(PLAN, round=2), network=network, state=first.state)
        ends.append(get_weights(network) | {k: v.numpy() for k, v in second.state.items()})
    assert same(*ends)
    assert ends[0]["0/step"] == 6


def test_the_weights_of_a_trained_network_share_no_memory(few):
    network = fresh()
    fit(network, few, PLAN)
    storages = {p.untyped_storage().data_ptr() for p in network.parameters()}
    assert len(storages) == len(list(network.parameters()))


def test_training_without_the_optimizer_state_differs(few):
    ends = []
    for keep in (True, False):
        network = fresh()
        _, first = weights_after(few, network=network)
        state = first.state if keep else None
        ends.append(weights_after(few, replace(PLAN, round=2), network=network, state=state)[0])
    assert not same(*ends)


def test_training_counts_its_examples_and_steps(few):
    _, fitted = weights_after(few, replace(PLAN, epochs=2, batch_size=10))
    assert (fitted.n_seen, fitted.steps) == (48, 6)
    assert 0.3 < fitted.loss_sum / fitted.n_seen < 1.0


def test_a_penalty_changes_the_weights(few):
    plain, _ = weights_after(few)
    zero, _ = weights_after(few, penalty=lambda net: 0.0 * net.head.weight.sum())
    smaller, _ = weights_after(few, penalty=lambda net: 10 * net.head.bias.pow(2).sum())
    assert same(plain, zero)
    assert not same(plain, smaller)
    assert np.abs(smaller["head.bias"]).sum() < np.abs(plain["head.bias"]).sum()


def test_a_pull_goes_back_to_where_the_round_began_and_none_changes_nothing(few):
    start, moved = get_weights(fresh()), []
    for pull in (0.0, 20.0, 1e6):
        found, _ = weights_after(few, pull=pull)
        moved.append(sum(float(((found[k] - start[k]) ** 2).sum()) for k in start) ** 0.5)
    assert moved[0] > moved[1] > moved[2] > 0
    assert same(weights_after(few)[0], weights_after(few, pull=0.0)[0])


@pytest.mark.parametrize("task", [RHYTHM, BEAT], ids=["rhythm", "beat"])
def test_the_weight_of_an_example_multiplies_its_loss(task, rng):
    n = len(task.classes)
    logits = torch.from_numpy(rng.normal(size=(6, n)))
    labels = torch.from_numpy(np.eye(n)[rng.integers(0, n, 6)])
    weights = torch.tensor([2.0, 0.0, 1.0, 0.5, 0.0, 3.0], dtype=torch.float64)
    each = torch.stack([task_loss(task, logits[i : i + 1], labels[i : i + 1]) for i in range(6)])
    found = task_loss(task, logits, labels, by_example=weights)
    torch.testing.assert_close(found, (each * weights).mean())


def windows_of(cohort, most, least):
    """As many windows of one patient as `most`, then of two others as `least`."""
    patients = sorted(set(cohort.patients.tolist()))[:3]
    one, two, three = (np.flatnonzero(cohort.patients == patient)[0] for patient in patients)
    return cohort.take(np.array([one] * most + [two] * least + [three] * least))


def test_where_patients_have_equally_many_examples_their_weights_change_nothing(few):
    plan = replace(PLAN, epochs=2)
    windows = windows_of(few, 4, 4)
    by_patient, _ = weights_after(windows, replace(plan, by_patient=True))
    assert same(by_patient, weights_after(windows, plan)[0])


def test_each_batch_has_the_weights_of_its_own_examples(few, monkeypatch):
    windows, given = windows_of(few, 20, 2), []

    def recorded(task, logits, labels, weights, focus, by_example):
        given.append(by_example)
        return task_loss(task, logits, labels, weights, focus, by_example)

    monkeypatch.setattr(loop, "task_loss", recorded)
    weights_after(windows, replace(PLAN, by_patient=True))
    order = epoch_order(windows, "none", 0, stream(PLAN.seed, "fit", PLAN.site, PLAN.round))
    assert len(given) == 3
    np.testing.assert_array_equal(torch.cat(given).numpy(), windows.loss_weights(order))
    given.clear()
    weights_after(windows)
    assert given == [None] * 3


def test_training_lowers_the_loss(few):
    plan = replace(PLAN, epochs=8, lr=5e-3, rounds=1)
    network = fresh()
    before = mean_loss(few.task, few.labels, predict(network, few))
    fit(network, few, plan)
    assert mean_loss(few.task, few.labels, predict(network, few)) < before


def test_training_on_beats_lowers_the_loss_too(beats):
    some = beats.take(np.arange(64))
    network = fresh(BEAT)
    before = mean_loss(BEAT, some.labels, predict(network, some))
    fitted = fit(network, some, replace(PLAN, batch_size=16, epochs=4, lr=5e-3, rounds=1))
    assert fitted.steps == 16
    assert mean_loss(BEAT, some.labels, predict(network, some)) < before


def test_predictions_do_not_depend_on_order_or_batch(cohort, rng):
    network = fresh()
    some = cohort.take(np.arange(100, 140))
    order = rng.permutation(40)
    p = predict(network, some)
    np.testing.assert_allclose(predict(network, some.take(order)), p[order], atol=2e-7)
    np.testing.assert_allclose(predict(network, some, batch_size=7), p, atol=2e-7)


def test_predictions_are_the_mean_over_the_crops(cohort):
    network = fresh()
    longest = cohort.take(np.array([int(cohort.lengths.argmax())]))
    example, starts = longest.even_crops(4)
    assert len(example) > 1
    probabilities = []
    for start in starts:
        batch = longest.batch(np.array([0]), np.array([start]))
        network.eval()
        with torch.inference_mode():
            logits = network(batch.signal, batch.lead_mask, batch.features)
        probabilities.append(logits.double().sigmoid().numpy()[0])
    # A batch of two is added up in another order than two batches of one.
    expected = np.mean(probabilities, axis=0)
    np.testing.assert_allclose(predict(network, longest)[0], expected, atol=1e-6)


def test_predictions_are_probabilities_of_seven_decimals(beats):
    p = predict(fresh(BEAT), beats.take(np.arange(50)))
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    assert np.array_equal(p, np.round(p, 7))


def test_an_empty_cohort_has_no_predictions(few):
    assert predict(fresh(), few.take(np.zeros(0, dtype=np.int64))).shape == (0, 9)


def test_sgd_continues_with_the_momentum_of_the_last_round(few):
    plan = replace(PLAN, sgd=True, momentum=0.9, constant=True, weight_decay=0.0, batch_size=999)
    first, network = get_weights(fresh()), fresh()
    second, fitted = weights_after(few, plan, network)  # one step
    without_momentum, _ = weights_after(few, plan, copy.deepcopy(network))
    with_momentum, _ = weights_after(few, plan, copy.deepcopy(network), state=fitted.state)
    assert fitted.steps == 1
    for name, value in with_momentum.items():
        step = 0.9 * (second[name] - first[name])
        np.testing.assert_allclose(value, without_momentum[name] + step, atol=1e-6)
