"""A site signs what it replies, with the key that the coordinator approved.

Flower's own signature is of the time of a request and of nothing else: it does not bind a body.
This one is of the run, of the request that is answered and of all that the reply holds, as digests
and numbers (`message_facts.reply_facts`): of exactly what the audit logs of both ends note. It
travels in a record of the reply, which Flower carries as it carries any other.

ECDSA with SHA-256, over JSON with sorted keys. The reply to a request is refused for another one.
"""

import base64
import json
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import ConfigRecord, Message, RecordDict

RECORD = "signature"  # of a reply, and its one key
REFUSED = "refused"  # the record that takes the place of a content that is not signed, and its key
METHOD = ec.ECDSA(hashes.SHA256())

INCOMPLETE = {"unreadable", "other-records"}  # facts of a reply that no site of this program sends


def read_signing_key(path: Path) -> ec.EllipticCurvePrivateKey | None:
    """A site's private key; None if it has none, as in a test without a coordinator."""
    if not path.exists():
        return None
    key = serialization.load_ssh_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the site's key is of another kind")
    return key


def sign_reply(
    reply: Message, facts: dict[str, Any], key: ec.EllipticCurvePrivateKey | None
) -> Message:
    """The reply with a signature of its facts; without one where there is no key, or an error."""
    if key is not None and reply.has_content():
        signature = base64.b64encode(key.sign(_signed_text(reply, facts), METHOD)).decode("ascii")
        reply.content[RECORD] = ConfigRecord({RECORD: signature})
    return reply


def take_signature(reply: Message) -> str:
    """The signature that came with a reply, which is then without it; empty if there is none."""
    if not reply.has_content() or RECORD not in reply.content:
        return ""
    record = reply.content.pop(RECORD)
    found = record.get(RECORD) if isinstance(record, ConfigRecord) else None
    return found if isinstance(found, str) else ""


def is_signed(reply: Message, facts: dict[str, Any], signature: str, public_key: str) -> bool:
    """Whether a key, in OpenSSH's form, made this signature of this reply.

    Facts that do not bind all of a reply are not signed, whatever the signature.
    """
    if facts.keys() & INCOMPLETE:
        return False
    try:
        key = serialization.load_ssh_public_key(public_key.encode())
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return False
        key.verify(base64.b64decode(signature, validate=True), _signed_text(reply, facts), METHOD)
    except (ValueError, TypeError, RecursionError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _signed_text(reply: Message, facts: dict[str, Any]) -> bytes:
    metadata = reply.metadata
    about = {"run": metadata.run_id, "message": metadata.reply_to_message_id}
    whole = {"heartfed": "reply", "reply": facts} | about
    return json.dumps(whole, sort_keys=True).encode("ascii")


def refuse_content(reply: Message, why: str) -> None:
    """Take the content of a reply away, so that nobody reads it; `require_accepted` says why."""
    reply.content = RecordDict({REFUSED: ConfigRecord({REFUSED: why})})


def require_accepted(reply: Message) -> None:
    """`ValueError` if the content of a reply was taken away."""
    if reply.has_content() and isinstance(reply.content.get(REFUSED), ConfigRecord):
        raise ValueError(str(reply.content.config_records[REFUSED].get(REFUSED)))
