"""Measures, summaries and predictions that hypothesis makes up, for round trips."""

import numpy as np
from hypothesis import strategies as st

from fl.evaluation.group_evaluation import Estimate, GroupMeasures, SubgroupMeasures
from fl.evaluation.metrics import MEASURES, ClassMeasures
from fl.evaluation.predictions import KEYS, Predictions

names = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)
counts = st.integers(0, 10_000)
shares = st.none() | st.floats(0, 1)
estimates = st.builds(Estimate, value=shares, low=shares, high=shares)
classes = st.builds(
    ClassMeasures,
    n=counts,
    positive=counts,
    prevalence=shares,
    **dict.fromkeys(MEASURES, shares),
)
some_names = st.lists(names, max_size=3, unique=True).map(tuple)
subgroups = st.builds(
    SubgroupMeasures,
    n_patients=counts,
    n_records=counts,
    macro_f1=shares,
    macro_auroc=shares,
    macro_classes=some_names,
)
_PLAIN = ("precision", "recall", "auprc", "brier", "ece")


def group_measures():
    """A group's measures, with parts by sex and age or without."""
    common = {f"macro_{name}": shares for name in _PLAIN} | {
        "n_records": counts,
        "n_patients": counts,
        "macro_classes": some_names,
        "macro_f1": estimates,
        "macro_auroc": estimates,
        "accuracy": shares,
        "classes": st.dictionaries(names, classes, max_size=3),
    }
    kinds = st.dictionaries(
        st.sampled_from(["sex", "age"]), st.dictionaries(names, st.none() | subgroups, max_size=2)
    )
    return st.builds(GroupMeasures, **common) | st.builds(GroupMeasures, **common, subgroups=kinds)


@st.composite
def predictions(draw, classes=("AF", "I-AVB", "PVC")):
    """Lines of predictions.csv of any names, also such as CSV must quote."""
    lines = draw(st.integers(0, 6))
    # numpy's texts drop NUL at their end, and a lone surrogate is no text at all.
    text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6)
    columns = {
        name: np.array(draw(st.lists(text, min_size=lines, max_size=lines)), dtype=np.str_)
        for name in (*KEYS, "fold")
    }
    shape, cells = (lines, len(classes)), lines * len(classes)
    labels = draw(st.lists(st.sampled_from([-1, 0, 1]), min_size=cells, max_size=cells))
    p = draw(st.lists(st.integers(0, 10**7), min_size=cells, max_size=cells))
    decided = draw(st.lists(st.booleans(), min_size=cells, max_size=cells))
    return Predictions(
        classes=tuple(classes),
        labels=np.array(labels, dtype=np.int8).reshape(shape),
        probabilities=np.round(np.array(p, dtype=np.float64).reshape(shape) / 10**7, 7),
        decided=np.array(decided, dtype=np.bool_).reshape(shape),
        **columns,
    )
