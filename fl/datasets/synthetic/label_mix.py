"""Which labels synthetic patients have, and how often: as in CPSC2018."""

import numpy as np
from numpy.typing import NDArray

from fl.ecg.labels import RHYTHM_CLASSES

# Numbers of records in CPSC2018's public set (Liu et al. 2018, 10.1166/jmihi.2018.2442) with each
# class. Which pairs of classes occur is not published; ours are those that a heart can have at
# once, rare classes first.
CPSC2018_COUNTS = dict(
    zip(RHYTHM_CLASSES, (918, 1221, 722, 236, 1857, 616, 700, 869, 220), strict=True)
)
PAIR_COUNTS: dict[tuple[str, ...], int] = {
    ("AF", "LBBB"): 28,
    ("AF", "PVC"): 16,
    ("AF", "RBBB"): 168,
    ("AF", "STD"): 35,
    ("IAVB", "LBBB"): 14,
    ("IAVB", "RBBB"): 30,
    ("IAVB", "PAC"): 16,
    ("RBBB", "PAC"): 75,
    ("RBBB", "PVC"): 50,
    ("PAC", "STD"): 14,
    ("PVC", "STD"): 22,
    ("PVC", "STE"): 8,
}


def _label_mix() -> tuple[list[tuple[str, ...]], NDArray[np.float64]]:
    """Every set of labels and the cumulative share at which it ends, from 0 to 1.

    Sets with the same last class are next to each other.
    """
    counts = dict(PAIR_COUNTS)
    for c in RHYTHM_CLASSES:
        in_pairs = sum(n for pair, n in PAIR_COUNTS.items() if c in pair)
        counts[(c,)] = CPSC2018_COUNTS[c] - in_pairs
    label_sets = sorted(counts, key=lambda labels: labels[::-1])
    ends = np.cumsum([counts[labels] for labels in label_sets], dtype=np.float64)
    return label_sets, ends / ends[-1]


LABEL_SETS, SHARE_ENDS = _label_mix()


def labels_at(share: float) -> tuple[str, ...]:
    """The set of labels at a share between 0 and 1 of the whole mix."""
    return LABEL_SETS[int(np.searchsorted(SHARE_ENDS, share, side="right"))]
