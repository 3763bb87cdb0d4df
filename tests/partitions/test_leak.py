"""Patients on both sides of a split must raise the validation score: a leak would be noticed."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fl.data.cohort import Cohort
from fl.data.example_cache import prepare
from fl.datasets.synthetic import SYNTHETIC
from fl.ecg.tasks import RHYTHM
from fl.evaluation.metrics import scores
from fl.models import build_network
from fl.training.loop import TrainingPlan, fit, predict
from fl.util.random_streams import stream
from partitions.dealing import deal
from partitions.partition import CENTRAL
from partitions.splits import TRAIN, VAL

CLASS = 1


@pytest.fixture(scope="module")
def random_labels(cache_dir, tmp_path_factory):
    """Twelve recordings each of 16 patients; a random half of the patients has one class.

    The label can be predicted only for a patient who was in training.
    """
    source = replace(SYNTHETIC, n_records=192, n_patients=16, seconds=(10.0, 11.0))
    cohort = Cohort.open(
        RHYTHM, [prepare(source, tmp_path_factory.mktemp("no"), RHYTHM, cache_dir)]
    )
    (shard,) = cohort.shards
    names, patient = np.unique(shard.patients, return_inverse=True)
    assert len(names) == 16
    label_of = stream(0, "leak").permutation(np.arange(len(names)) % 2)
    labels = np.full_like(shard.labels, -1)
    labels[:, CLASS] = label_of[patient]
    return replace(cohort, shards=(replace(shard, labels=labels),))


def validation_auroc(cohort, split):
    """Train on one part, validate on the other."""
    torch.manual_seed(0)
    network = build_network("resnet1d", RHYTHM)
    plan = TrainingPlan(
        seed=0, site="all", round=1, rounds=1, epochs=20, batch_size=16, lr=2e-3, weight_decay=0.01
    )
    fit(network, cohort.take(np.flatnonzero(split == TRAIN)), plan)
    validation = cohort.take(np.flatnonzero(split == VAL))
    p = predict(network, validation)
    found = scores(validation.labels, p, p >= 0.5, RHYTHM.classes, validation.patients)
    return found.classes[RHYTHM.classes[CLASS]].auroc


@pytest.mark.slow
def test_shuffling_patients_across_splits_raises_the_validation_score(random_labels):
    cohort = random_labels
    partition = deal(cohort, {str(cohort.sources[0]): 1}, "patients", 0.5, 0)
    split = np.where(partition.site == CENTRAL, VAL, partition.split)
    split = np.where(split == TRAIN, TRAIN, VAL)
    of_train = set(cohort.patients[split == TRAIN].tolist())
    assert of_train.isdisjoint(cohort.patients[split == VAL].tolist())
    shuffled = stream(0, "shuffled").permutation(split)
    without_leak, with_leak = validation_auroc(cohort, split), validation_auroc(cohort, shuffled)
    assert without_leak < 0.75  # the labels of new patients cannot be predicted
    assert with_leak > 0.9
    assert with_leak > without_leak + 0.2
