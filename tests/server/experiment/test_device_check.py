"""The self-check of a GPU: what differs, what is refused, and that it is made once."""

import pytest
import torch
from support.made_cohorts import made_cohort

from fl.config.config_file import load_config
from fl.ecg.tasks import RHYTHM_SIGNAL
from fl.util.errors import ConfigError
from server.experiment import device_check
from server.experiment.device_check import Difference, check_gpu, compare_with_cpu

CONFIG = load_config({"task": "rhythm-signal", "model": "cnn_simple"})


def cohort():
    labels = [[number % 3] for number in range(12)]
    return made_cohort([str(number) for number in range(12)], labels, task=RHYTHM_SIGNAL)


def test_the_same_device_differs_by_nothing():
    assert compare_with_cpu(CONFIG, cohort(), "cpu") == Difference(loss=0.0, update=0.0)


def test_another_step_is_seen(monkeypatch):
    fit = device_check.fit
    seen = []

    def wrong(network, records, plan):
        seen.append(plan)
        found = fit(network, records, plan)
        if len(seen) == 2:  # the second one is the other device's
            for parameter in network.parameters():
                parameter.data *= 1.5
        return found

    monkeypatch.setattr(device_check, "fit", wrong)
    found = compare_with_cpu(CONFIG, cohort(), "cpu")
    assert found.update > device_check.MOST
    assert not found.acceptable
    assert [plan.epochs * 2 for plan in seen] == [10, 10]  # two batches an epoch


@pytest.mark.parametrize("value", [float("nan"), 0.51])
def test_what_is_no_rounding_is_not_accepted(value):
    assert not Difference(loss=0.0, update=value).acceptable
    assert Difference(loss=0.001, update=0.01).acceptable


@pytest.fixture
def gpu(monkeypatch):
    """A machine with a GPU by name, whose difference a test gives."""

    def is_found(**difference):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Made GPU")
        found = Difference(**difference)
        monkeypatch.setattr(device_check, "compare_with_cpu", lambda *_: found)

    return is_found


def test_it_is_made_once_for_a_gpu_and_a_network(gpu, tmp_path):
    gpu(loss=0.001, update=0.02)
    assert check_gpu(CONFIG, cohort(), tmp_path) == (
        "Self-check of the GPU: 10 training steps on Made GPU differ from the CPU's by 0.10% of "
        "the loss and 2.00% of the change of the weights."
    )
    assert check_gpu(CONFIG, cohort(), tmp_path) == ""
    other = load_config({"task": "rhythm-signal", "model": "resnet1d"})
    assert check_gpu(other, cohort(), tmp_path) != ""


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_a_damaged_record_of_earlier_checks_is_written_again(gpu, tmp_path, content):
    gpu(loss=0.0, update=0.0)
    (tmp_path / device_check.KEPT).write_text(content)
    assert check_gpu(CONFIG, cohort(), tmp_path)
    assert check_gpu(CONFIG, cohort(), tmp_path) == ""


def test_a_gpu_with_other_numbers_is_refused_each_time(gpu, tmp_path):
    gpu(loss=0.0, update=0.9)
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"90\.00% of the change of the weights"):
            check_gpu(CONFIG, cohort(), tmp_path)
