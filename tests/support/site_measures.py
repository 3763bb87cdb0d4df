"""A site's own measures for tests."""

from fl.ecg.tasks import RHYTHM
from fl.evaluation.group_evaluation import Estimate, GroupMeasures
from fl.evaluation.metrics import MEASURES, ClassMeasures


def measures(f1=0.5, auroc=0.5):
    """A site's own measures."""
    names = ("precision", "recall", "auprc", "brier", "ece")
    return GroupMeasures(
        n_records=4,
        n_patients=4,
        macro_classes=("AF",),
        macro_f1=Estimate(value=f1, low=None, high=None),
        macro_auroc=Estimate(value=auroc, low=None, high=None),
        accuracy=None,
        classes={},
        **{f"macro_{name}": None for name in names},
    )


def report(of_class=(), **changed):
    """Measures of twenty patients, of all rhythm classes; those of the first as given."""
    facts = {"n": 20, "positive": 10, "patients": 20, "positive_patients": 10}
    plain = dict.fromkeys(MEASURES, 0.5) | {"prevalence": 0.5} | facts
    classes = {name: ClassMeasures(**plain) for name in RHYTHM.classes}
    classes["NSR"] = ClassMeasures(**plain | dict(of_class))
    f1, auroc = changed.pop("f1", 0.5), changed.pop("auroc", 0.5)
    given = {"n_records": 20, "n_patients": 20, "classes": classes} | changed
    return measures(f1, auroc).model_copy(update=given)
