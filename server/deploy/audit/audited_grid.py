"""A Flower grid that notes every request and every reply in the audit log, as they pass.

It also checks the site's own signature of a reply (`fl/messages/reply_signature.py`), which is of
what the log notes: a line with a signature can be shown to others.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from flwr.app import Message
from flwr.serverapp import Grid

from fl.messages.message_facts import reply_facts, request_facts
from fl.messages.reply_signature import is_signed, refuse_content, take_signature
from fl.privacy.audit_log.log_file import AuditLog
from server.deploy.grids.around_grid import AroundGrid

Facts = dict[str, Any]
ABOUT = ("site", "kind", "round", "split", "run")  # facts of a request that its reply repeats
NOT_SIGNED = "it is not signed with the key that was approved for the site"


class AuditedGrid(AroundGrid):
    """Another grid, whose messages are noted, and whose replies are refused if not signed.

    `nodes`: site -> the node approved for it; `keys`: node -> its public key. The replies of a
    node without a key, which an earlier version approved, are taken as they come.
    """

    def __init__(
        self,
        grid: Grid,
        log: AuditLog,
        nodes: Mapping[str, int],
        run: str,
        keys: Mapping[int, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(grid)
        self._log, self._run_name, self._keys = log, run, keys
        self._site_of = {node: site for site, node in nodes.items()}
        self._asked: dict[str, Facts] = {}
        self._node_asked: dict[str, int] = {}
        self.pull_waits = bool(getattr(grid, "pull_waits", False))

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        requests = list(messages)
        events = [self._asking(request) for request in requests]
        numbers = list(self._grid.push_messages(requests))
        for number, event in zip(numbers, events, strict=True):
            event["message"] = number
            if not number:
                event["event"] = "not-sent"
            self._asked[number] = {name: event[name] for name in ABOUT if name in event}
            self._node_asked[number] = event["node"]
        if events:
            self._log.try_append(*events)
        return numbers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        replies = list(self._grid.pull_messages(message_ids))
        events = [self._replied(reply) for reply in replies]
        if events:
            self._log.try_append(*events)
        return replies

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        requests = list(messages)
        asked = [self._asking(request) for request in requests]
        replies = list(self._grid.send_and_receive(requests, timeout=timeout))
        self._log.try_append(*asked, *map(self._replied, replies))
        return replies

    def _asking(self, request: Message) -> Facts:
        """A request before it is sent; what carries it may pack its arrays."""
        node = request.metadata.dst_node_id
        who = {"site": self._site_of.get(node, f"node {node}"), "node": node, "run": self._run_name}
        return {"event": "asked"} | who | request_facts(request, with_settings=False)

    def _replied(self, reply: Message) -> Facts:
        """A reply as it came, before anybody believes it; its signature is taken off and checked.

        A node's error has none: whoever could make one up could as well stop the reply.
        """
        number = reply.metadata.reply_to_message_id
        about = self._asked.pop(number, {"run": self._run_name})
        sender, signature = reply.metadata.src_node_id, take_signature(reply)
        # Whatever sends the reply, it counts as that of the node that was asked.
        node = self._node_asked.pop(number, sender)
        found = reply_facts(reply)
        facts = {"event": "replied"} | about | {"message": number, "from-node": sender}
        if signature:
            facts["signature"] = signature
        if reply.has_content() and node in self._keys:
            facts["signed"] = is_signed(reply, found, signature, self._keys[node])
            if not facts["signed"]:
                refuse_content(reply, NOT_SIGNED)
        return facts | found
