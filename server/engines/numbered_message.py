"""A request that carries its own number; Flower's own engines number theirs in a store."""

from flwr.app import Message, Metadata


class NumberedMessage(Message):
    """A request whose reply names it: `reply.metadata.reply_to_message_id` is its number.

    Flower documents `message_id` as a parameter of `Metadata`, but a `Message` makes its metadata
    by itself and leaves the number empty. It has a file of its own because workers, which import
    it, need nothing else of the server.
    """

    def __init__(self, message: Message, number: str) -> None:
        given = message.metadata
        super().__init__(message.content, given.dst_node_id, given.message_type)
        self._numbered = Metadata(
            run_id=given.run_id,
            message_id=number,
            src_node_id=given.src_node_id,
            dst_node_id=given.dst_node_id,
            reply_to_message_id="",
            group_id=given.group_id,
            created_at=given.created_at,
            ttl=given.ttl,
            message_type=given.message_type,
            src_task_id=given.src_task_id,
            dst_task_id=given.dst_task_id,
        )
        self._numbered.delivered_at = given.delivered_at

    @property
    def metadata(self) -> Metadata:
        """As given, with the number."""
        return self._numbered
