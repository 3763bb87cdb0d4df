"""Which weights a site's records train: rows of its classes, columns of its leads."""

from types import SimpleNamespace

import numpy as np
import torch

from clients.local_objectives.evidence import trained_entries
from fl.config.run_config import RunConfig
from fl.ecg.tasks import RHYTHM
from fl.models import build_network, parts_of
from fl.training.state_dict import get_weights

CONFIG = RunConfig(model="resnet1d")
PARTS = parts_of(CONFIG.model, RHYTHM)
torch.manual_seed(0)
WEIGHTS = get_weights(build_network(CONFIG.model, RHYTHM))


def cohort(unknown=(), missing=()):
    """Two records of a site: classes that neither annotates, leads that neither holds."""
    labels, leads = np.zeros((2, 9), np.int8), np.ones((2, 12), bool)
    labels[0] = -1  # a class is known if one record annotates it
    labels[:, list(unknown)], leads[:, list(missing)] = -1, False
    return SimpleNamespace(labels=labels, lead_mask=leads)


def test_a_row_of_the_head_is_trained_where_its_class_is_annotated():
    found = trained_entries(CONFIG, cohort(unknown=[2]), WEIGHTS)
    assert found.keys() == set(PARTS.head)
    for name, trained in found.items():
        assert np.flatnonzero(trained.reshape(-1) == 0).tolist() == [2]
        zeros = (WEIGHTS[name] * 0 + 1) * trained == 0
        assert zeros[2].all()
        assert zeros.sum() == zeros[2].size


def test_a_leads_column_is_trained_where_the_lead_is_recorded():
    found = trained_entries(CONFIG, cohort(missing=[3, 7]), WEIGHTS)
    assert found.keys() == set(PARTS.lead_columns)
    for name, trained in found.items():
        zeros = (WEIGHTS[name] * 0 + 1) * trained == 0
        assert zeros[:, [3, 7]].all()
        assert zeros.sum() == zeros[:, [3, 7]].size


def test_nothing_is_trained_in_part_at_a_site_that_has_everything_or_by_plain_averaging():
    assert trained_entries(CONFIG, cohort(), WEIGHTS) == {}
    plain = RunConfig(model="resnet1d", averaging="plain")
    assert trained_entries(plain, cohort([2], [3]), WEIGHTS) == {}
