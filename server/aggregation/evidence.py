"""How much each site's update counts, and weights that only some sites can train."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fl.messages.payloads import TrainingReply
from fl.models import NetworkParts
from fl.training.state_dict import Weights
from server.aggregation.update_store import NamedArrays, with_entries

Factors = NDArray[np.float32]  # by which the change of each class's row or lead's column counts


def weight_sites(replies: Sequence[TrainingReply], weighting: str) -> list[TrainingReply]:
    """The replies, each site weighted by its records, its patients, by their root, or alike.

    By records every recording counts alike, and a large hospital decides; by patients, of whom
    the site has then counted those of each class and lead, a few people with many windows do not;
    evenly every hospital counts alike. Counts are whole numbers, so roots of the records are
    taken in thousandths.
    """
    if weighting == "records":
        return list(replies)
    if weighting == "patients":
        return [replace(reply, n_records=reply.n_patients) for reply in replies]
    weighted = []
    for reply in replies:
        weight = 1000 * (math.sqrt(reply.n_records) if weighting == "root" else 1.0)
        factor = weight / reply.n_records
        weighted.append(
            replace(
                reply,
                n_records=round(weight),
                annotated=tuple(round(n * factor) for n in reply.annotated),
                recorded=tuple(round(n * factor) for n in reply.recorded),
            )
        )
    return weighted


def average_by_evidence(
    replies: Sequence[TrainingReply],
    start: Weights,
    parts: NetworkParts,
    extra: Weights | None = None,
) -> list[TrainingReply]:
    """Let weights that only some sites can train be averaged over those sites alone.

    A row of the head learns only where its class is annotated, and a column of the first
    convolution only where its lead was recorded. Every other site sends them back unchanged,
    and plain averaging by records would let it hold them back: two hospitals with twelve leads
    among many with one would hardly train the other eleven. Scaling an entry's change by
    (share of the records that train it) / (share of records) makes the plain average that
    follows the average by those records, whatever rule builds on that average.

    `extra` are the arrays that went out beside the weights. Those with the name of such an entry
    are averaged in the same way: SCAFFOLD corrects a weight by the mean of the sites' control
    variates, which must be the mean over the sites whose weights are averaged.
    """
    total = sum(r.n_records for r in replies)
    plain = np.array([r.n_records / total for r in replies])
    by_class = _factors([r.annotated for r in replies], plain)  # (site, class)
    by_lead = _factors([r.recorded for r in replies], plain)  # (site, lead)
    return [
        replace(
            reply,
            weights=_scaled(reply.weights, start, parts, classes, leads),
            extra=_scaled(reply.extra, extra or {}, parts, classes, leads),
        )
        for reply, classes, leads in zip(replies, by_class, by_lead, strict=True)
    ]


def _scaled(
    arrays: NamedArrays, start: Weights, parts: NetworkParts, classes: Factors, leads: Factors
) -> NamedArrays:
    """The arrays, with the change of each row of the head and of each lead's column scaled."""
    changed: Weights = {}
    for name in arrays:
        if name in parts.head:
            value = arrays[name]
            factor = classes.reshape(-1, *[1] * (value.ndim - 1))
        elif name in parts.lead_columns:
            value = arrays[name]
            factor = leads.reshape(1, -1, *[1] * (value.ndim - 2))
        else:
            continue
        if (factor != 1).any():
            before = start[name].astype(np.float32)
            changed[name] = before + factor * (value.astype(np.float32) - before)
    return with_entries(arrays, changed)


def _factors(counts: Sequence[Sequence[int]], plain: NDArray[np.float64]) -> Factors:
    """(share of the records that train an entry) / (share of records): (site, entry).

    An entry that no site trains is averaged plainly.
    """
    by_site = np.array(counts, dtype=np.float64)
    total = by_site.sum(axis=0)
    share = np.where(total > 0, by_site / np.maximum(total, 1), plain[:, None])
    return np.asarray(share / plain[:, None], dtype=np.float32)
