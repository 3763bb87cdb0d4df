"""What a worker does in one call: several requests to small sites, one after the other.

It has a file of its own because workers, which import it, need nothing else of the server.
"""

import logging
import pickle
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from flwr.app import ArrayRecord, Context, Error, Message

from fl.messages.flower_codec import CLIENT_FAILED
from fl.messages.flower_records import arrays_in


@dataclass(frozen=True)
class Combined:
    """One answer that stands for the replies to several requests."""

    answer: Any
    numbers: tuple[str, ...]  # of these requests


# Takes the replies to some requests, and returns one answer and the numbers of the requests that it
# answers; the other replies are sent as they are. None: all of them are.
Combine = Callable[[Sequence[Message]], tuple[Any, tuple[str, ...]] | None]


@runtime_checkable
class SharesWork(Protocol):
    """A client that can do a part of several requests at once, before it answers each."""

    def sharing(
        self, messages: Sequence[Message], contexts: Sequence[Context]
    ) -> AbstractContextManager[None]:
        """A context in which it answers these requests, which come with the same arrays."""


@dataclass(frozen=True, kw_only=True)
class Visits:
    """The outcome of one call."""

    replies: tuple[Message, ...]  # those that nothing else stands for
    # A `Combined`, or none. As bytes: of arrays, Ray would keep the place in its own store, which
    # is small, for as long as any of them is in use.
    combined: bytes
    contexts: dict[int, Context]  # by node, where the client may have stored something
    seconds: dict[int, float]  # by node


def error_reply(message: Message, error: BaseException) -> Message:
    """What the server receives when a client fails: the kind of error and its text."""
    return Message(Error(CLIENT_FAILED, f"{type(error).__name__}: {error}"), reply_to=message)


def _shared_work(
    app: Any, messages: Sequence[Message], contexts: Sequence[Context]
) -> AbstractContextManager[None]:
    if len(messages) > 1 and isinstance(app, SharesWork):
        return app.sharing(messages, contexts)
    return nullcontext()


def make_visits(
    app: Callable[[Message, Context], Message],
    messages: Sequence[Message],
    contexts: Sequence[Context],
    arrays: Sequence[ArrayRecord],
    combine: Combine | None = None,
) -> Visits:
    """Make the requests in their order. A client that raises an error costs its own site alone.

    `arrays`: those of every message, sent apart because all requests of a round share them.
    """
    replies: list[Message] = []
    kept: dict[int, Context] = {}
    seconds: dict[int, float] = {}
    for message in messages:
        for name, record in zip(arrays_in(message.content), arrays, strict=True):
            message.content[name] = record
    began = time.perf_counter()
    with _shared_work(app, messages, contexts):
        shared = (time.perf_counter() - began) / len(messages)
        for message, context in zip(messages, contexts, strict=True):
            node, began = message.metadata.dst_node_id, time.perf_counter()
            try:
                replies.append(app(message, context))
            except Exception as error:
                logging.getLogger("heartfed").debug("a client raised", exc_info=error)
                replies.append(error_reply(message, error))
            seconds[node] = shared + time.perf_counter() - began
            if context.state:
                kept[node] = context
    made = combine(replies) if combine is not None and len(replies) > 1 else None
    combined = None if made is None else Combined(*made)
    gone = set(combined.numbers) if combined else set()
    return Visits(
        replies=tuple(r for r in replies if r.metadata.reply_to_message_id not in gone),
        combined=pickle.dumps(combined) if combined else b"",
        contexts=kept,
        seconds=seconds,
    )
