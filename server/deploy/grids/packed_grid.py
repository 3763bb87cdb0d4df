"""A Flower grid that sends all arrays of a message as one."""

import logging
from collections.abc import Iterable

from flwr.app import Message

from fl.messages.flower_arrays import packed, unpacked
from server.deploy.grids.around_grid import AroundGrid


class PackedGrid(AroundGrid):
    """Another grid, whose messages travel with all their arrays packed into one."""

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
        except MemoryError:  # of this machine
            raise
        except Exception as error:
            logging.getLogger("heartfed").warning("a reply is damaged: %s", error)
            return message  # it lacks the model's entries, for which its site is refused by name
