"""Whether the SuperLink's answer to a SuperNode that asks for messages holds none.

Names that Flower does not document are imported where they are used, so that this file can be
loaded with any version.
"""

FLOWER_VERSIONS = ("1.41.0",)  # tested


def holds_no_message(content: bytes) -> bool:
    """Whether this is an answer to `pull-messages` without a message."""
    from flwr.proto.fleet_pb2 import PullMessagesResponse
    from google.protobuf.message import DecodeError

    try:
        return not PullMessagesResponse.FromString(content).messages_list
    except DecodeError:
        return False
