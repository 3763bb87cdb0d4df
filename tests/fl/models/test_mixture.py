"""Several networks that answer as one."""

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from fl.ecg.tasks import TASKS
from fl.explain.saliency import usual_method
from fl.models import MODELS, build_network, check_model
from fl.models.mixture import MixtureOfNetworks, own_network
from fl.models.network_input import network_input
from fl.models.network_parts import check_parts, embedding_layer, network_parts
from fl.util.errors import ConfigError


def usable(model, task):
    try:
        check_model(model, TASKS[task])
    except ConfigError:
        return False
    return not model.endswith("_large")


USES = [(m, task) for task in ("rhythm", "beat", "beat7") for m in MODELS if usable(m, task)]


def batch(network, task, n=2):
    rows = n * network_input(network).row
    torch.manual_seed(1)
    return (
        torch.randn(rows, task.leads, task.samples),
        torch.ones(rows, task.leads),
        torch.randn(rows, len(task.features)),
    )


@pytest.mark.parametrize(("model", "name"), USES)
def test_it_answers_with_the_weighted_mean_of_the_logits(model, name):
    task = TASKS[name]
    networks = [build_network(model, task).eval() for _ in range(3)]
    shares = np.array([0.5, 0.2, 0.3])
    mixture = MixtureOfNetworks(networks, shares).eval()
    given = batch(mixture, task)
    with torch.inference_mode():
        expected = sum(s * net(*given) for s, net in zip(shares, networks, strict=True))
        torch.testing.assert_close(mixture(*given), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("model", "name"), USES)
def test_it_is_asked_as_any_network_is(model, name):
    task = TASKS[name]
    mixture = own_network(model, task, 3)
    first = mixture.networks[0]
    assert network_input(mixture) == network_input(first)
    assert usual_method(mixture) == usual_method(first)
    assert embedding_layer(mixture) is embedding_layer(first)
    parts = network_parts(mixture)
    entries = mixture.state_dict()
    check_parts(parts, entries, classes=len(task.classes), leads=task.leads)
    assert len(parts.head) == 3 * len(network_parts(first).head)


def test_its_file_holds_the_networks_and_their_shares():
    task = TASKS["rhythm"]
    mixture = MixtureOfNetworks([build_network("resnet1d", task) for _ in range(3)], [0.6, 0.4, 0])
    again = own_network("resnet1d", task, 3)
    again.load_state_dict(load(save(mixture.state_dict())), strict=True)
    given = batch(mixture, task)
    with torch.inference_mode():
        torch.testing.assert_close(mixture.eval()(*given), again.eval()(*given))


def test_without_shares_all_networks_count_alike_and_without_a_mixture_there_is_one():
    task = TASKS["rhythm"]
    torch.testing.assert_close(own_network("resnet1d", task, 2).shares, torch.tensor([0.5, 0.5]))
    assert not isinstance(own_network("resnet1d", task), MixtureOfNetworks)


@pytest.mark.parametrize("shares", [[0.5], [0.5, 0.6], [1.5, -0.5]])
def test_shares_that_are_none_are_refused(shares):
    networks = [torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)]
    with pytest.raises(ValueError, match="one for each of 2 networks"):
        MixtureOfNetworks(networks, shares)
