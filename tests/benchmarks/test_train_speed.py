"""The speed benchmark's plain model is the default model: same logits, same gradients."""

import numpy as np
import pytest
import torch
from support.made_cohorts import without_features

from benchmarks.speed.peer_adapters.workload import write_records
from benchmarks.speed.plain_training import PlainResLSTM, loss_of, records_of, train
from benchmarks.speed.step_profile import (
    OUTSIDE,
    default_networks,
    kind_of,
    share_of_rate,
    time_shares,
)
from fl.data.cohort import Cohort
from fl.ecg.tasks import BEAT, RHYTHM_SIGNAL
from fl.models import build_network
from fl.training.losses import task_loss


def both():
    """The default network and the plain one with the same weights, dropout off."""
    torch.manual_seed(0)
    network, plain = build_network("reslstm_temporalse", RHYTHM_SIGNAL), PlainResLSTM()
    plain.load_state_dict(network.state_dict())
    network.dropout.p = plain.dropout.p = 0.0
    return network.train(), plain.train()


def test_the_default_model_is_the_plain_one(cohort):
    network, plain = both()
    rows = np.array([3, 40, 130, 170])  # twelve leads and two
    batch = without_features(cohort).batch(rows, np.zeros(4, dtype=np.int64))
    ours = network(batch.signal, batch.lead_mask, batch.features)
    theirs = plain(batch.signal, batch.lead_mask)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-6)
    one, other = task_loss(RHYTHM_SIGNAL, ours, batch.labels), loss_of(theirs, batch.labels)
    torch.testing.assert_close(one, other)
    one.backward()
    other.backward()
    expected = dict(plain.named_parameters())
    for name, weights in network.named_parameters():
        torch.testing.assert_close(weights.grad, expected[name].grad, rtol=1e-3, atol=2e-6)


def test_the_plain_training_trains(few):
    _, plain = both()
    losses = [train(plain, records_of(few), 8, 3e-3) for _ in range(4)]
    assert losses[-1] < losses[0]


def test_the_profile_gives_all_of_a_step_to_some_kind_of_operation(tmp_path):
    write_records(tmp_path, BEAT, 2 * BEAT.batch_size, seed=0)
    cohort = Cohort.open(BEAT, [tmp_path])
    shares = time_shares(BEAT, cohort)
    assert sum(shares.values()) == pytest.approx(1, abs=0.05)
    assert shares["convolutions"] > 0
    assert shares[OUTSIDE] < 1
    assert 0 < share_of_rate(BEAT, cohort) < 1


def test_every_default_network_is_profiled_and_operations_are_told_apart():
    assert {"reslstm_temporalse", "beat_cnn", "cnn2d", "cnn1d"} <= default_networks().keys()
    named = {
        "aten::mkldnn_convolution": "convolutions",
        "aten::mkldnn_rnn_layer": "recurrent layers",
        "aten::addmm": "matrix products",
        "aten::native_group_norm": "normalisation",
        "aten::add_": "other operations",
    }
    assert {name: kind_of(name) for name in named} == named
