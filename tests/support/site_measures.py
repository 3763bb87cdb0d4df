"""A site's own measures for tests."""

from fl.evaluation.group_evaluation import Estimate, GroupMeasures


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
