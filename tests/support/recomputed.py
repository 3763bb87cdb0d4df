"""Figures of summary.json recomputed from predictions.csv with scikit-learn."""

import csv
import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def facts(path):
    return json.loads(path.read_text())


class Group:
    """Labels, probabilities and decisions of some lines of predictions.csv."""

    def __init__(self, rows, classes, thresholds):
        def columns(kind):
            return np.array([[float(row[f"{kind}_{c}"] or -1) for c in classes] for row in rows])

        self.y, self.p = columns("y"), columns("p")
        if thresholds is None:
            self.output = np.eye(len(classes))[self.p.argmax(axis=1)]
        else:
            at = [thresholds.get(row["source"], thresholds["pooled"]) for row in rows]
            self.output = self.p >= np.array([[t[c] for c in classes] for t in at])

    def measures(self, c):
        """(f1, auroc, accuracy) of a class by scikit-learn, or None."""
        known = self.y[:, c] >= 0
        y, p, output = self.y[known, c], self.p[known, c], self.output[known, c]
        if len(set(y.tolist())) < 2:
            return None
        return f1_score(y, output), roc_auc_score(y, p), accuracy_score(y, output)


def assert_recomputed(found, rows, classes, thresholds):
    group = Group(rows, classes, thresholds)
    each = {c: group.measures(i) for i, c in enumerate(classes)}
    known = [c for c in classes if each[c]]
    assert found["n_records"] == len(rows)
    assert found["macro_classes"] == known
    assert found["n_patients"] == len({row["patient"] for row in rows})
    for i, name in enumerate(("f1", "auroc", "accuracy")):
        for c in classes:
            expected = each[c][i] if each[c] else None
            assert found["classes"][c][name] == pytest.approx(expected, abs=1e-6)
        macro = found["accuracy"] if name == "accuracy" else found[f"macro_{name}"]["value"]
        mean = np.mean([each[c][i] for c in known]) if known else None
        assert macro == pytest.approx(mean, abs=1e-6)
