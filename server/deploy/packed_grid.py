"""A grid whose messages cross the wire with all their arrays in one."""

import logging
from collections.abc import Iterable

from flwr.app import Message
from flwr.serverapp import Grid
from flwr.supercore.run import Run

from fl.messages.flower_arrays import packed, unpacked
from server.engines.grid_base import BaseGrid


class PackedGrid(BaseGrid):
    """Another grid, whose messages cross the wire with their arrays folded into one."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid

    def set_run(self, run: Run) -> None:
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        return self._grid.run

    def get_node_ids(self) -> Iterable[int]:
        return self._grid.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return self._grid.push_messages([packed(message) for message in messages])

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [self._read(message) for message in self._grid.pull_messages(message_ids)]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        sent = [packed(message) for message in messages]
        return [self._read(m) for m in self._grid.send_and_receive(sent, timeout=timeout)]

    def _read(self, message: Message) -> Message:
        try:
            return unpacked(message)
        except ValueError as error:
            logging.getLogger("heartfed").warning("a reply: %s", error)
            return message  # it has not the model's entries, and is refused by name for that
