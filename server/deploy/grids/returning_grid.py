"""A Flower grid that asks a site again when its SuperNode went away while it was asked.

A SuperNode that ends takes the request that it had received with it: no reply will come, and the
round would wait for it until --timeout. There are two signs of such an end. The SuperLink answers
in the place of a node that is away: one that took its leave (a site takes it for a SuperNode that
was killed), or that sent no sign of life for a minute. And a node that was started again since it
was asked has forgotten what it was asked.

A site that was connected when it was asked has `RETURN` seconds to come back, and is then asked
again, `MOST_AGAIN` times at most. One that was not connected is not waited for.

It stands around whatever packs messages or checks who signed them: those see each time that a
request is sent, under a number of its own.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from flwr.app import Error, Message, RecordDict
from flwr.serverapp import Grid

from fl.messages.flower_codec import CLIENT_FAILED
from fl.util.errors import FederationError
from server.deploy.grids.around_grid import AroundGrid
from server.engines.numbered_message import NumberedMessage

RETURN = 30.0  # seconds within which a site that went away may come back
MOST_AGAIN = 2  # times that one request is sent again
ABSENT = "its SuperNode is not connected"
GONE = f"its SuperNode went away while it was asked, and was not back within {RETURN:g} s"
LOST = f"its SuperNode ended {MOST_AGAIN + 1} times while it was asked the same"


@dataclass
class Asked:
    """One request: how often it was sent, and where its site is."""

    message: Message
    content: RecordDict  # as it was given: what carries it may pack it
    number: str  # by which whoever asked knows it
    connected: bool  # when it was first sent
    until: float  # by the clock, after which nobody waits for the reply
    sent_at: float  # seconds since 1970, when it was last sent
    numbers: list[str] = field(default_factory=list)  # of every time it was sent
    away_since: float | None = None  # by the clock; None: its reply may come
    again: int = 0

    def reply(self, reply: Message) -> Message:
        """The reply, to the request as it was first sent."""
        first = NumberedMessage(self.message, self.number)
        if reply.has_error():
            return Message(reply.error, reply_to=first)
        return Message(reply.content, reply_to=first)

    def failure(self, reason: str) -> Message:
        """What is answered in the place of a site whose reply will not come."""
        return Message(
            Error(CLIENT_FAILED, reason), reply_to=NumberedMessage(self.message, self.number)
        )


class ReturningGrid(AroundGrid):
    """Another grid, of nodes that may go away and come back.

    `activated`: node -> seconds since 1970 when its SuperNode was last admitted; it is asked every
    `look` seconds while replies are awaited.
    """

    def __init__(
        self,
        grid: Grid,
        activated: Callable[[], Mapping[int, float]],
        look: float,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(grid)
        self._activated, self._look = activated, look
        self._clock, self._now = clock, now
        self._looked = clock()
        self._asked: dict[str, Asked] = {}  # by the number of each time a request was sent

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send requests, and remember which of the nodes are connected now."""
        given, at = list(messages), self._clock()
        self._asked = {n: asked for n, asked in self._asked.items() if asked.until > at}
        self._looked = at
        connected, sent_at = set(self._grid.get_node_ids()), self._now()
        contents = [message.content for message in given]
        numbers = list(self._grid.push_messages(given))
        for number, message, content in zip(numbers, given, contents, strict=True):
            if number:
                self._asked[number] = Asked(
                    message=message,
                    content=content,
                    number=number,
                    connected=message.metadata.dst_node_id in connected,
                    until=at + message.metadata.ttl,
                    sent_at=sent_at,
                    numbers=[number],
                )
        return numbers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies that have come; a site that went away is asked again once it is back."""
        wanted = [self._asked[n] for n in message_ids if n in self._asked]
        awaited = [n for asked in wanted if asked.away_since is None for n in asked.numbers]
        replies = []
        for reply in self._grid.pull_messages(awaited) if awaited else ():
            asked = self._asked.get(reply.metadata.reply_to_message_id)
            if asked is not None and (taken := self._taken(asked, reply)) is not None:
                replies.append(taken)
        return [*replies, *self._restarted(wanted), *self._returned(wanted)]

    def _taken(self, asked: Asked, reply: Message) -> Message | None:
        """The reply of a site; None if it is the SuperLink's and the site may come back."""
        of_the_site = reply.metadata.src_node_id == asked.message.metadata.dst_node_id
        if of_the_site or not reply.has_error():
            return self._ended(asked, asked.reply(reply))
        if not asked.connected:
            return self._ended(asked, asked.failure(ABSENT))
        if asked.again >= MOST_AGAIN:
            return self._ended(asked, asked.failure(LOST))
        self._forget(asked)
        asked.numbers, asked.away_since = [], self._clock()
        self._asked[asked.number] = asked
        return None

    def _ended(self, asked: Asked, reply: Message) -> Message:
        self._forget(asked)
        return reply

    def _forget(self, asked: Asked) -> None:
        """Await no reply to what was sent so far."""
        for number in [asked.number, *asked.numbers]:
            self._asked.pop(number, None)

    def _restarted(self, wanted: Sequence[Asked]) -> list[Message]:
        """Ask nodes that were started again since they were asked; the failures of others."""
        awaited = [a for a in wanted if a.away_since is None and a.number in self._asked]
        if not awaited or self._clock() - self._looked < self._look:
            return []
        self._looked, failures = self._clock(), []
        try:
            activated = self._activated()
        except (FederationError, OSError) as error:
            logging.getLogger("heartfed").warning("the SuperLink was not asked: %s", error)
            return []
        for asked in awaited:
            if activated.get(asked.message.metadata.dst_node_id, 0.0) <= asked.sent_at:
                continue
            if asked.again >= MOST_AGAIN:
                failures.append(self._ended(asked, asked.failure(LOST)))
            else:
                # What was sent before may have waited for the node, so its reply is taken too.
                self._send_again(asked)
        return failures

    def _returned(self, wanted: Sequence[Asked]) -> list[Message]:
        """Ask those that are back again; the failures of those that stayed away."""
        away = [(asked, asked.away_since) for asked in wanted if asked.away_since is not None]
        if not away:
            return []
        connected, failures = set(self._grid.get_node_ids()), []
        for asked, since in away:
            if asked.message.metadata.dst_node_id in connected:
                self._send_again(asked)
            elif self._clock() - since > RETURN:
                failures.append(self._ended(asked, asked.failure(GONE)))
        return failures

    def _send_again(self, asked: Asked) -> None:
        given, left = asked.message, max(asked.until - self._clock(), 1.0)
        message = Message(
            asked.content,
            given.metadata.dst_node_id,
            given.metadata.message_type,
            ttl=left,
            group_id=given.metadata.group_id,
        )
        sent_at = self._now()
        for number in self._grid.push_messages([message]):
            if number:  # without one it was not sent
                asked.again, asked.away_since, asked.sent_at = asked.again + 1, None, sent_at
                asked.numbers.append(number)
                self._asked[number] = asked
