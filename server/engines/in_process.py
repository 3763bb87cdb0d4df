"""Clients in the server's own process, without workers."""

import logging
from collections import deque
from collections.abc import Iterable

from flwr.app import Message
from flwr.clientapp import ClientApp

from server.engines.grid_base import SimulatedGrid
from server.engines.site_visits import error_reply


class LocalGrid(SimulatedGrid):
    """Every client in this process, one after the other: a debugger can step through."""

    def __init__(self, client_app: ClientApp, n_nodes: int) -> None:
        super().__init__(n_nodes)
        self._app = client_app
        self._queue: deque[Message] = deque()

    def submit(self, message: Message) -> None:
        self._queue.append(message)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        if not self._queue:
            return []
        message = self._queue.popleft()
        try:
            return [self._app(message, self.contexts[message.metadata.dst_node_id])]
        except Exception as error:
            logging.getLogger("heartfed").debug("a client raised", exc_info=error)
            return [error_reply(message, error)]

    def abandon(self, message_ids: Iterable[str]) -> None:
        abandoned = set(message_ids)
        self._queue = deque(m for m in self._queue if m.metadata.message_id not in abandoned)
