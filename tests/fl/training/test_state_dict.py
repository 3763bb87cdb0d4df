"""Weights are read from a network and set again without the loss of a bit."""

import numpy as np
import pytest
import torch
from safetensors import safe_open

from fl.ecg.tasks import RHYTHM
from fl.models import MODELS, build_network
from fl.training.flat_parameters import FlatParameters
from fl.training.state_dict import (
    check_local_entries,
    get_weights,
    load_weights,
    local_entries,
    save_weights,
    set_weights,
)
from fl.util.errors import ConfigError


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_network("resnet1d", RHYTHM)


def same(one, other):
    return one.keys() == other.keys() and all(
        one[k].dtype == other[k].dtype and np.array_equal(one[k], other[k]) for k in one
    )


def test_a_file_gives_the_same_weights_back(network, tmp_path):
    weights = get_weights(network)
    weights["steps"] = np.array(7, dtype=np.int64)  # integers stay integers
    save_weights(tmp_path / "deep" / "w.safetensors", weights, {"model": "resnet1d"})
    assert same(load_weights(tmp_path / "deep" / "w.safetensors"), weights)


def test_the_same_weights_give_the_same_file(network, tmp_path):
    facts = {"task": "rhythm", "strategy": "fedavg", "model": "Ménière"}
    for i in range(8):
        save_weights(tmp_path / str(i), get_weights(network), facts)
    assert len({file.read_bytes() for file in tmp_path.iterdir()}) == 1
    with safe_open(tmp_path / "0", "np") as file:
        assert file.metadata() == facts
    assert same(load_weights(tmp_path / "0"), get_weights(network))


def test_weights_are_copies_both_ways(network):
    taken = get_weights(network)
    set_weights(network, taken)
    before = {k: v.copy() for k, v in taken.items()}
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)
    assert same(taken, before)


def test_weights_of_another_network_are_refused(network):
    weights = get_weights(network)
    with pytest.raises(RuntimeError, match=r"head\.bias"):
        set_weights(network, {k: v for k, v in weights.items() if k != "head.bias"})
    with pytest.raises(RuntimeError, match="size mismatch"):
        set_weights(network, weights | {"head.bias": np.zeros(4, dtype=np.float32)})


FEDERATED = [
    name for name, options in MODELS.items() if not getattr(options, "centralised_only", False)
]


@pytest.mark.parametrize("model", [name for name in FEDERATED if not name.startswith("beat_")])
def test_the_layers_that_fedbn_never_sends_begin_with_scale_one_and_shift_zero(model):
    """As the note on FedBN says of the server's copy, which stays as it begins."""
    weights = get_weights(build_network(model, RHYTHM))
    own = local_entries("fedbn", model, "rhythm")
    assert own
    for name in own:
        assert (weights[name] == (1 if name.endswith("weight") else 0)).all(), name


@pytest.mark.parametrize("model", ["beat_mlp", "beat_gru"])
def test_fedbn_is_refused_for_a_network_without_normalisation_layers(model):
    with pytest.raises(ConfigError, match=f"--model {model} has none"):
        check_local_entries("fedbn", model, "beat")
    check_local_entries("fedavg", model, "beat")
    check_local_entries("fedbn", "beat_cnn", "beat")


def test_text_is_no_weight_even_if_it_reads_as_a_number(network):
    weights = get_weights(network)
    name = next(iter(weights))
    with pytest.raises(TypeError):
        set_weights(network, weights | {name: np.full(weights[name].shape, "1.0")})
    assert same(get_weights(network), weights)


def test_what_was_found_of_a_network_stays_true_of_it(network):
    """Its layers are searched once; training moves the values, and a new type changes them."""
    before = get_weights(network)
    rows = FlatParameters.of(network)
    with torch.no_grad():
        for row in rows.weights:
            row += 1
    assert same(get_weights(network), {k: v + np.float32(1) for k, v in before.items()})
    rows.release()
    network.double()
    assert {v.dtype for v in get_weights(network).values()} == {np.dtype(np.float64)}
    set_weights(network, before)
    state = {k: v.numpy() for k, v in network.state_dict().items()}
    assert same(state, {k: v.astype(np.float64) for k, v in before.items()})


def test_what_is_no_parameter_is_among_the_weights_too():
    network = torch.nn.BatchNorm1d(3)
    for _ in range(2):
        network(torch.randn(4, 3))
        state = {k: v.numpy() for k, v in network.state_dict().items()}
        assert same(get_weights(network), state)
    set_weights(network, {k: np.zeros_like(v) for k, v in state.items()})
    assert network.num_batches_tracked == 0


def test_a_parameter_of_two_names_has_both():
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    network[1].weight = network[0].weight
    assert get_weights(network).keys() == network.state_dict().keys()


def test_a_layer_that_is_replaced_is_set_and_read(network):
    weights = get_weights(network)
    network.head = torch.nn.Linear(network.head.in_features, network.head.out_features)
    new = network.head.weight.detach().numpy().copy()
    assert np.array_equal(get_weights(network)["head.weight"], new)
    set_weights(network, weights)
    assert np.array_equal(network.head.weight.detach().numpy(), weights["head.weight"])
