"""CPSC2018's official score: one answer for each recording, although some have several labels."""

import numpy as np
from numpy.typing import NDArray


def official_score(
    first: NDArray[np.int64], labels: NDArray[np.int8], answers: NDArray[np.int64]
) -> dict[str, object]:
    """Mean F1 of the nine classes as the challenge counted it.

    `first` (record,) is the class of the reference's first label, `labels` (record, class) are
    all of its labels, `answers` (record,) the one class that the model answers. An answer that is
    any of the reference's labels is right; a wrong one is counted against the first label. The F1
    of a class is `2 N_ii / (N_i. + N_.i)`, and None for a class that no record has and no answer
    names. Source: Liu et al. 2018, 10.1166/jmihi.2018.2442.
    """
    rows = np.arange(len(answers))
    truth = np.where(labels[rows, answers] == 1, answers, first)
    n = labels.shape[1]
    table = np.bincount(truth * n + answers, minlength=n * n).reshape(n, n)
    total = table.sum(axis=0) + table.sum(axis=1)
    f1s = [float(2 * table[c, c] / total[c]) if total[c] else None for c in range(n)]
    known = [f1 for f1 in f1s if f1 is not None]
    return {"f1": float(np.mean(known)) if known else None, "classes": f1s, "n": len(answers)}
