"""Where the updates of a round are until they are merged: in memory, in sums, or in a file.

Updates that would fill memory are added up as they come, in groups that fit. The sums are of whole
numbers, so that neither order nor grouping changes a bit. An update that is much longer than those
before it waits in the file, for it may have to be clipped.
"""

from dataclasses import replace
from pathlib import Path

from fl.messages.payloads import TrainingReply
from fl.training.state_dict import Weights
from server.aggregation import update_store
from server.aggregation.clipping import FEWEST_SITES, Norms, update_norms
from server.aggregation.update_store import UpdateStore, update_store_for
from server.aggregation.update_sums import SumUpdates, UpdateSum

MOST_SUMS = 8  # of a round; two become one where there are more


class KeptUpdates:
    """Takes the updates of a round into `trained` or `sums`, which its owner merges."""

    def __init__(
        self,
        trained: dict[str, TrainingReply],
        sums: list[UpdateSum],
        sites: int,
        shared: Weights,
        folder: Path,
        add: SumUpdates | None,
    ) -> None:
        """`sites` were asked; `add` adds up updates. None: each has to be kept by itself."""
        self._trained, self._sums, self._add = trained, sums, add
        self._store = update_store_for(sites, shared, folder)
        size = sum(values.nbytes for values in shared.values())
        self._group = max(FEWEST_SITES, update_store.MAX_BYTES_IN_MEMORY // max(size, 1))
        self._waiting: list[str] = []  # in memory, to be added up
        self._apart: list[Norms] = []  # of updates that are in no sum

    def take(self, update: TrainingReply) -> None:
        """One more checked update."""
        if self._store is None:
            self._trained[update.site] = update
        elif self._add is None:
            self._trained[update.site] = store_update(update, self._store)
        else:
            self._trained[update.site] = update
            self._waiting.append(update.site)
            if len(self._waiting) >= self._group:
                self._add_up(self._add, self._store)

    def add_no_more(self) -> None:
        """From now on each update is kept by itself: sites of a sum are asked again."""
        self._add = None

    def _add_up(self, add: SumUpdates, store: UpdateStore) -> None:
        others = [*self._apart, *(norms for one in self._sums for norms in one.norms)]
        total = add.add_up([self._trained[site] for site in self._waiting], others)
        added = total.sites if total is not None else set()
        for site in self._waiting:
            update = self._trained.pop(site)
            if site not in added:
                self._apart.append(update_norms(update, add.shared, add.extra))
                self._trained[site] = store_update(update, store)
        self._waiting.clear()
        if total is not None:
            self._sums.append(total)
        if len(self._sums) > MOST_SUMS:
            self._sums.sort(key=lambda one: len(one.updates), reverse=True)
            last = self._sums.pop()
            self._sums[-1] = self._sums[-1] + last


def store_update(trained: TrainingReply, store: UpdateStore) -> TrainingReply:
    """The same update, in a file instead of in memory."""
    weights, extra = store.put(trained.weights), store.put(trained.extra)
    return replace(trained, weights=weights, extra=extra)
