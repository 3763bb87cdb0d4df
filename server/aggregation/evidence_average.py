"""The average of the sites' updates, where only some sites can train some of the weights."""

from collections.abc import Sequence

import numpy as np

from fl.messages.payloads import TrainingReply
from fl.messages.round_vector import UPDATE_NUMBERS, decode_update, encode_update
from fl.models import NetworkParts
from fl.privacy.fixed_point_sums import FixedPointSums
from fl.training.state_dict import Weights
from server.aggregation.update_sums import UpdateSum


def average_updates(
    replies: Sequence[TrainingReply],
    start: Weights,
    extra: Weights,
    parts: NetworkParts,
    most: int,
    totals: Sequence[UpdateSum] = (),
) -> TrainingReply:
    """One update that stands for all: the average of their weights, and the sums of their counts.

    A row of the head learns only where its class is annotated, and a column of the first
    convolution only where its lead was recorded. Every other site sends them back unchanged,
    and plain averaging by records would let it hold them back: two hospitals with twelve leads
    among many with one would hardly train the other eleven. So each row and each column is
    averaged by the records that train it, and by all if none does.

    `extra` are the arrays that went out beside the weights. Those with the name of such an entry
    are averaged in the same way: SCAFFOLD corrects a weight by the mean of the sites' control
    variates, which must be the mean over the sites whose weights are averaged.

    The sum is one of whole numbers (`fl/privacy/fixed_point_sums.py`): no order of the replies
    changes a bit. `most` is `most_weight` of the sites that were asked. `totals` are sums of other
    updates of the round. `ValueError` for an update that does not fit.
    """
    first = replies[0] if replies else totals[0].updates[0]
    sums = FixedPointSums(start, extra, parts, len(first.annotated), len(first.recorded), most)
    total = np.zeros(sums.size + UPDATE_NUMBERS, dtype=np.int64)
    for reply in replies:
        total += encode_update(sums, reply)
    for one in totals:
        total += one.total
    return decode_update(sums, total)
