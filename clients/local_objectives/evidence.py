"""Which weights a site's own records can train at all."""

import numpy as np

from fl.config.run_config import RunConfig
from fl.data.cohort import Cohort
from fl.ecg.tasks import TASKS
from fl.models import parts_of
from fl.training.state_dict import Weights


def trained_entries(config: RunConfig, cohort: Cohort, weights: Weights) -> Weights:
    """1 where a site's records train a weight and 0 elsewhere, for entries trained in part.

    A row of the head has a gradient only if a record annotates its class, and a lead's column of
    the first convolution only if a record holds the lead. Nothing is named where all entries are
    averaged plainly, over sites that train them and sites that do not.
    """
    if config.averaging != "evidence":
        return {}
    parts = parts_of(config.model, TASKS[config.task])
    classes = (cohort.labels >= 0).any(axis=0)
    leads = cohort.lead_mask.any(axis=0)
    found: Weights = {}
    for names, trained, axis in ((parts.head, classes, 0), (parts.lead_columns, leads, 1)):
        for name in () if trained.all() else names:
            shape = np.ones(weights[name].ndim, dtype=int)
            shape[axis] = -1
            found[name] = trained.reshape(shape).astype(np.float32)
    return found
