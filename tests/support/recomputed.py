"""Figures of summary.json recomputed from predictions.csv with scikit-learn."""

import csv
import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, roc_auc_score

MEASURES = ("f1", "accuracy", "auroc", "auprc")


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def facts(path):
    return json.loads(path.read_text())


class Group:
    """Labels, probabilities and decisions of some lines of predictions.csv."""

    def __init__(self, rows, classes):
        def columns(kind):
            return np.array([[float(row[f"{kind}_{c}"] or -1) for c in classes] for row in rows])

        self.y, self.p = columns("y"), columns("p")
        self.patients = np.array([row["patient"] for row in rows])
        self.output = columns("d")

    def measures(self, c):
        """By scikit-learn, in the order of MEASURES, or None."""
        known = self.y[:, c] >= 0
        y, p, output = self.y[known, c], self.p[known, c], self.output[known, c]
        if len(set(y.tolist())) < 2:
            return None
        decided = f1_score(y, output), accuracy_score(y, output)
        return *decided, roc_auc_score(y, p), average_precision_score(y, p)

    def averaged(self, c, name):
        """Whether a macro average takes the class: five patients with it, five without."""
        people = [len(set(self.patients[self.y[:, c] == answer])) for answer in (1, 0)]
        return min(people) >= 5 and name not in ("F", "Q")  # beats that are not trained


def assert_recomputed(found, rows, classes, by_source=False):
    """If `by_source`, a figure is the mean over sources, weighted by their patients."""
    sources = sorted({row["source"] for row in rows}) if by_source else [""]
    parts = [[row for row in rows if source in ("", row["source"])] for source in sources]
    groups = [Group(part, classes) for part in parts]
    patients = [len(set(group.patients)) for group in groups]

    def mean(values):
        known = [i for i, value in enumerate(values) if value is not None]
        weights = [patients[i] for i in known]
        return np.average([values[i] for i in known], weights=weights) if known else None

    kept = [[c for i, c in enumerate(classes) if g.averaged(i, c)] for g in groups]
    assert found["n_records"] == len(rows)
    assert found["macro_classes"] == [c for c in classes if any(c in some for some in kept)]
    assert found["n_patients"] == len({row["patient"] for row in rows})
    for i, name in enumerate(MEASURES):
        each = {
            c: [(g.measures(k) or [None] * len(MEASURES))[i] for g in groups]
            for k, c in enumerate(classes)
        }
        for c in classes:
            assert found["classes"][c][name] == pytest.approx(mean(each[c]), abs=1e-6)
        macro = found["accuracy"] if name == "accuracy" else found[f"macro_{name}"]
        macro = macro["value"] if isinstance(macro, dict) else macro
        macros = [
            np.mean([each[c][g] for c in some]) if some else None for g, some in enumerate(kept)
        ]
        assert macro == pytest.approx(mean(macros), abs=1e-6)
