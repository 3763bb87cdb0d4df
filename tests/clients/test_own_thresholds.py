"""A site's own thresholds: from its own validation, drawn to the federation's where it is small."""

import numpy as np
import pytest
from support.made_cohorts import made_cohort

from clients.own_thresholds import own_thresholds, shrunk_threshold
from fl.ecg.tasks import RHYTHM

SENT = {"pooled": dict.fromkeys(RHYTHM.classes, 0.9), "other": dict.fromkeys(RHYTHM.classes, 0.8)}


def separated(positives, negatives=40, low=0.1, high=0.3):
    """As many patients with the first class, who score high, and without it, who score low."""
    n = positives + negatives
    cohort = made_cohort(list(map(str, range(n))), [[0]] * positives + [[1]] * negatives)
    p = np.full((n, 9), 0.5)
    p[:, 0] = np.where(np.arange(n) < positives, high, low)
    return cohort, p


def test_many_positive_patients_decide_a_threshold_and_few_hardly_change_it():
    found = {}
    for positives in (1, 5, 200):
        cohort, p = separated(positives)
        source = str(cohort.sources[0])
        found[positives] = own_thresholds(cohort, p, SENT)[source][RHYTHM.classes[0]]
    assert 0.9 > found[1] > 0.7
    assert found[1] > found[5] > found[200]
    assert 0.1 < found[200] < 0.3


def test_half_of_the_weight_is_the_sites_with_five_positive_patients():
    assert shrunk_threshold(0.2, 0.8, patients=5) == 0.5  # the middle in log-odds
    assert shrunk_threshold(0.2, 0.8, patients=0) == pytest.approx(0.8)
    assert shrunk_threshold(None, 0.8, patients=9) == 0.8


def test_windows_of_one_patient_are_one_patient():
    cohort, p = separated(20)
    source, name = str(cohort.sources[0]), RHYTHM.classes[0]
    one = made_cohort(["0"] * 20 + list(map(str, range(20, 60))), [[0]] * 20 + [[1]] * 40)
    many, few = (own_thresholds(c, p, SENT)[source][name] for c in (cohort, one))
    assert few > many


def test_a_class_without_positives_and_a_source_without_records_keep_the_federations():
    cohort, p = separated(20)
    source = str(cohort.sources[0])
    found = own_thresholds(cohort, p, SENT)
    assert found[source][RHYTHM.classes[5]] == 0.9
    assert {k: found[k] for k in SENT} == SENT
    nothing = cohort.take(np.zeros(0, dtype=np.int64))
    assert own_thresholds(nothing, p[:0], SENT) == SENT
