"""LiRA: is a model's confidence in a patient that of models trained with the patient, or without?

Source: Carlini et al. 2022, arXiv:2112.03570. We differ: the unit is the patient, whose confidence
is the mean over the patient's examples, and who is in a shadow model with all of them or none.
"""

import numpy as np
from numpy.typing import NDArray

from fl.util.random_streams import stream

Values = NDArray[np.float64]
SMALLEST_SPREAD = 1e-3  # of confidences, in log-odds: two shadow models may agree by chance


def draw_halves(patients: int, models: int, seed: int, *name: str | int) -> NDArray[np.bool_]:
    """Which patients train each shadow model: (model, patient), each patient in half of them.

    Models come in pairs that share no patient and hold all together. Raises ValueError unless
    `models` is even.
    """
    if models % 2:
        raise ValueError(f"{models} shadow models: an even number of them is needed")
    drawn = np.zeros((models, patients), dtype=bool)
    for pair in range(models // 2):
        order = stream(seed, "shadow", *name, pair).permutation(patients)
        drawn[2 * pair, order[: patients // 2]] = True
        drawn[2 * pair + 1] = ~drawn[2 * pair]
    return drawn


def online_score(target: Values, shadows: Values, trained: NDArray[np.bool_]) -> Values:
    """Log of the ratio of likelihoods, with the patient to without: (patient,).

    `target` (patient,) confidences of the attacked model, `shadows` (model, patient) those of the
    shadow models, `trained` (model, patient) as `draw_halves` drew them. The spread is one for all
    patients, as the paper does with few shadow models.
    """
    with_patient, spread_in = _normal(shadows, trained)
    without, spread_out = _normal(shadows, ~trained)
    return _log_density(target, with_patient, spread_in) - _log_density(target, without, spread_out)


def offline_score(target: Values, shadows: Values, trained: NDArray[np.bool_]) -> Values:
    """How far a confidence lies above that of models without the patient, in their spread.

    (patient,); what an attacker can do whose shadow models never see the patients in question.
    Shapes as in `online_score`.
    """
    without, spread = _normal(shadows, ~trained)
    return (target - without) / spread


def _normal(shadows: Values, used: NDArray[np.bool_]) -> tuple[Values, float]:
    """Mean of each patient over the models used, and one spread around these means."""
    count = used.sum(axis=0)
    mean = np.where(used, shadows, 0.0).sum(axis=0) / count
    freedom = max(float((count - 1).sum()), 1.0)
    variance = float((np.where(used, shadows - mean, 0.0) ** 2).sum()) / freedom
    return mean, max(variance**0.5, SMALLEST_SPREAD)


def _log_density(values: Values, mean: Values, spread: float) -> Values:
    return np.asarray(-(((values - mean) / spread) ** 2) / 2 - np.log(spread))
