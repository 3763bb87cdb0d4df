"""What the grids of this project have in common."""

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid


class BaseGrid(Grid):
    """A Flower grid that makes messages as Flower's own does."""

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)
