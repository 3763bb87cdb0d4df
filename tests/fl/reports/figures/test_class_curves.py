"""Curves are drawn of classes that enough patients show, however many examples these have."""

import numpy as np
import pytest

from fl.evaluation.metrics import MIN_MACRO_PATIENTS
from fl.evaluation.predictions import Predictions
from fl.reports.figures.class_curves import drawn_classes, precision_recall, reliability, roc


def predictions(with_af, without_af, windows):
    """Windows of patients of whom so many show AF; PVC is shown by one more of each."""
    patients = np.repeat(np.arange(with_af + without_af + 2), windows)
    n, rng = len(patients), np.random.default_rng(0)
    labels = np.stack([patients < with_af, patients <= with_af], axis=1).astype(np.int8)
    texts = ("strategy", "source", "record", "site", "split", "fold")
    probabilities = rng.random((n, 2))
    return Predictions(
        classes=("AF", "PVC"),
        **{name: np.full(n, "x") for name in texts},
        patient=patients.astype(str),
        labels=labels,
        probabilities=probabilities,
        decided=probabilities > 0.5,
    )


@pytest.mark.parametrize("windows", [1, 30])
def test_a_class_that_too_few_patients_show_has_no_curve(windows):
    few = predictions(MIN_MACRO_PATIENTS - 2, 20, windows)
    assert drawn_classes(few) == []
    assert roc(few) is precision_recall(few) is reliability(few) is None
    one_more = predictions(MIN_MACRO_PATIENTS - 1, 20, windows)
    assert drawn_classes(one_more) == [1]
    for draw in (roc, precision_recall, reliability):
        drawing = draw(one_more)
        assert "PVC" in drawing.svg
        assert "AF" not in drawing.svg
        assert f"at least {MIN_MACRO_PATIENTS} patients" in drawing.caption


def test_a_class_that_too_few_patients_lack_has_no_curve():
    assert drawn_classes(predictions(20, MIN_MACRO_PATIENTS - 3, 1)) == []
