"""Every network can say where it looked, and has a summary of each example to arrange."""

import numpy as np
import pytest
import torch

from fl.data.cohort import Cohort
from fl.ecg.tasks import TASKS
from fl.explain.embedding import summaries
from fl.explain.saliency import explain
from fl.models import MODELS, build_network, check_model
from fl.util.errors import ConfigError


def usable(name, task):
    try:
        check_model(name, TASKS[task])
    except ConfigError:
        return False
    return True


PAIRS = [(name, task) for name in MODELS for task in ("rhythm", "beat") if usable(name, task)]
SLOW = ("resnet1d_large",)


@pytest.fixture(params=[p for p in PAIRS if p[0] not in SLOW], ids="/".join)
def model(request, few, beats):
    """A network with fresh weights, and examples of its task."""
    name, task = request.param
    cohort: Cohort = few if task == "rhythm" else beats
    torch.manual_seed(1)
    network = build_network(name, TASKS[task])
    # Larger than fresh weights, so that the answers differ; recurrent ones would become chaotic.
    torch.nn.init.normal_(network.head.weight, std=0.2)
    return network, cohort


def test_the_contributions_sum_to_the_difference_of_the_log_odds(model):
    network, cohort = model
    target = cohort.task.classes[1]
    found = explain(network, cohort, 3, target, "gradients")
    total = found.signal.sum() + sum(f.contribution for f in found.features) + found.neighbours
    assert total == pytest.approx(found.difference - found.error, abs=1e-6)
    assert found.complete
    assert len(found.features) == len(cohort.task.features)


def test_occlusion_answers_too(model):
    network, cohort = model
    found = explain(network, cohort, 3, cohort.task.classes[2], "occlusion")
    assert np.isfinite(found.signal).all()
    assert np.abs(found.signal).sum() + sum(abs(f.contribution) for f in found.features) > 0


def test_every_example_has_a_summary_of_one_width(model):
    network, cohort = model
    found = summaries(network, cohort, np.array([1, 5, 9]))
    assert found.shape[0] == 3
    assert found.shape[1] > 1
    # Another size of the batch may round otherwise.
    assert np.allclose(found[1:], summaries(network, cohort, np.array([5, 9])), atol=1e-4)
