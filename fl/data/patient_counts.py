"""How many examples of each patient are marked."""

import numpy as np
from numpy.typing import NDArray


def count_by_patient(
    of: NDArray[np.bool_], patient: NDArray[np.int64], n_patients: int
) -> NDArray[np.int64]:
    """Marked examples of each patient: (example, column) -> (patient, column).

    `patient` (example,) is the number of each example's patient, from 0.
    """
    columns = of.shape[1]
    example, column = np.nonzero(of)
    counts = np.bincount(patient[example] * columns + column, minlength=n_patients * columns)
    return counts.reshape(n_patients, columns)
