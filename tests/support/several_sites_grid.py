"""A grid that makes calls of several sites as Ray's workers do, in this process."""

import pickle

from server.engines.in_process import LocalGrid
from server.engines.site_visits import make_visits


def arrays_of(message):
    return list(message.content.array_records.values())


class SeveralSitesGrid(LocalGrid):
    """Four requests that hold the same arrays go out in one call."""

    combines, in_one_call = True, 4

    def __init__(self, client_app, n_nodes):
        super().__init__(client_app, n_nodes)
        self._combine = None
        self.summed = []  # how many sites' replies each combined answer stands for

    def combine_with(self, combine):
        self._combine = pickle.loads(pickle.dumps(combine))

    def pull_messages(self, message_ids):
        if not self._queue:
            return []
        first = arrays_of(self._queue[0])
        messages = []
        while self._queue and len(messages) < self.in_one_call:
            if [*map(id, arrays_of(self._queue[0]))] != [*map(id, first)]:
                break
            messages.append(self._queue.popleft())
        contexts = [self.contexts[message.metadata.dst_node_id] for message in messages]
        visits = make_visits(self._app, messages, contexts, first, self._combine)
        if visits.combined:
            self.combined.append(pickle.loads(visits.combined))
            self.summed.append(len(self.combined[-1].numbers))
        return list(visits.replies)
