"""The network that reads beats as pictures: the paper's eleven layers, and where it is refused."""

import pytest
import torch
from torch import nn

from fl.ecg.tasks import BEAT7, TASKS
from fl.models import MODELS, build_network, check_model
from fl.training.augmentation import check_augmentations
from fl.training.state_dict import local_entries
from fl.util.errors import ConfigError


def layers(network):
    kinds = nn.Conv2d | nn.MaxPool2d | nn.Linear
    return [m for m in network.modules() if isinstance(m, kinds)]


def test_the_large_one_has_the_eleven_layers_of_the_paper():
    with torch.device("meta"):
        found = layers(build_network("cnn2d_large", BEAT7))
    kinds = "".join({nn.MaxPool2d: "p", nn.Linear: "d"}.get(type(m), "c") for m in found)
    assert kinds == "ccpccpccpdd"
    widths = [getattr(m, "out_channels", getattr(m, "out_features", None)) for m in found]
    assert widths == [64, 64, None, 128, 128, None, 256, 256, None, 2048, 7]
    assert all(m.kernel_size == (3, 3) for m in found if isinstance(m, nn.Conv2d))


def test_weights_are_drawn_as_xavier_says():
    torch.manual_seed(0)
    dense = build_network("cnn2d", BEAT7).dense[1]
    bound = (6 / (dense.in_features + dense.out_features)) ** 0.5
    assert 0.99 * bound < dense.weight.abs().max() <= bound
    assert not dense.bias.any()


def test_batch_norm_is_the_only_difference_of_the_centralised_one():
    batch = build_network("cnn2d_batchnorm", BEAT7)
    assert any(isinstance(m, nn.BatchNorm2d) for m in batch.modules())
    ours = build_network("cnn2d", BEAT7)
    assert [m.weight.shape for m in layers(batch) if hasattr(m, "weight")] == [
        m.weight.shape for m in layers(ours) if hasattr(m, "weight")
    ]
    assert not list(ours.buffers())


def test_fedbn_keeps_its_normalisation_at_the_sites():
    assert len(local_entries("fedbn", "cnn2d", "beat7")) == 2 * 7


def test_a_federation_refuses_batch_norm_in_one_line():
    with pytest.raises(ConfigError, match="batch norm is for centralised training alone") as error:
        check_model("cnn2d_batchnorm", BEAT7)
    assert "cnn2d, cnn2d_large" in str(error.value)


@pytest.mark.parametrize("task", [task for task in TASKS.values() if not task.whole_beats])
@pytest.mark.parametrize("model", ["cnn2d", "cnn2d_large", "cnn2d_batchnorm"])
def test_a_task_without_pictures_refuses_it_in_one_line(model, task):
    with pytest.raises(ConfigError, match=f"as pictures, and the {task.name} task has none"):
        check_model(model, task)


@pytest.mark.parametrize("task", [task for task in TASKS.values() if not task.whole_beats])
def test_a_task_without_pictures_refuses_crops_in_one_line(task):
    with pytest.raises(ConfigError, match=f"the {task.name} task has no such pictures"):
        check_augmentations(["crops"], task)
    check_augmentations(BEAT7.augment, BEAT7)


def test_one_dimensional_networks_read_whole_beats_too():
    for name in ("cnn1d", "resnet1d", "beat_cnn"):
        check_model(name, BEAT7)
    with pytest.raises(ConfigError, match="reads features of heartbeats"):
        check_model("beat_gru", BEAT7)
    assert MODELS["cnn2d"].needs_pictures
