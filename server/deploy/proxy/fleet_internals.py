"""What is known of Flower's Fleet API: the headers that sign a request, and an empty answer.

Names that Flower does not document are imported where they are used, so that this file can be
loaded with any version.
"""

FLOWER_VERSIONS = ("1.41.0",)  # tested
# Headers of a request: the public key (PEM, in base64), the time (ISO 8601), its signature.
KEY, SIGNED_AT, SIGNATURE = "flwr-public-key", "flwr-timestamp", "flwr-signature"


def holds_no_message(content: bytes) -> bool:
    """Whether this is an answer to `pull-messages` without a message."""
    from flwr.proto.fleet_pb2 import PullMessagesResponse
    from google.protobuf.message import DecodeError

    try:
        return not PullMessagesResponse.FromString(content).messages_list
    except DecodeError:
        return False
