"""How much a site's update counts beside those of the others."""

import math
from collections.abc import Iterable
from dataclasses import replace

from fl.messages.payloads import SiteInfo, TrainingReply


def weighted_update(reply: TrainingReply, weighting: str) -> TrainingReply:
    """The update with its counts as they weigh: by records, patients, their root, or alike.

    By records every recording counts alike, and a large hospital decides; by patients, of whom
    the site has then counted those of each class and lead, a few people with many windows do not;
    evenly every hospital counts alike. Counts are whole numbers, so roots of the records are
    taken in thousandths.
    """
    if weighting == "records":
        return reply
    if weighting == "patients":
        return replace(reply, n_records=reply.n_patients)
    weight = _weight_of(reply.n_records, reply.n_patients, weighting)
    factor = weight / reply.n_records
    return replace(
        reply,
        n_records=weight,
        annotated=tuple(round(n * factor) for n in reply.annotated),
        recorded=tuple(round(n * factor) for n in reply.recorded),
    )


def most_weight(sites: Iterable[SiteInfo], weighting: str) -> int:
    """What the updates of these sites can weigh together at most, from their first words."""
    return sum(_weight_of(info.n_records, info.n_train, weighting) for info in sites)


def _weight_of(n_records: int, n_patients: int, weighting: str) -> int:
    if weighting == "records":
        return n_records
    if weighting == "patients":
        return n_patients
    return round(1000 * (math.sqrt(n_records) if weighting == "root" else 1.0))
