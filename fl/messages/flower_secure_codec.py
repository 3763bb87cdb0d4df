"""The steps of a secure sum as Flower messages. What is secret in them is sealed by the sites."""

from typing import Literal

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from fl.messages.flower_arrays import from_array_record, to_array_record
from fl.messages.flower_codec import ARRAYS, CONFIG, run_settings
from fl.messages.flower_records import arrays_in, record_in
from fl.messages.job import Job
from fl.privacy.egress_policy import NAME, REASONS, SITE, EgressError
from fl.privacy.secure_aggregation.masks import Vector
from fl.privacy.secure_aggregation.round_keys import KEY_BYTES, KeyAnnouncement
from fl.privacy.secure_aggregation.secret_shares import SEALED_BYTES

SECURE = "secure"  # key of a request's and of a reply's settings
MASKED = "masked"  # the one array of a reply: a vector under its masks
LONGEST_REPLY = 2**22  # characters of a site's answer to one step
LONGEST_SIGNATURE = 144  # bytes
# Fields of an answer beside the name, by step, and the bytes of each of its letters.
FIELDS = {
    "keys": frozenset({"announced", "sources"}),
    "letters": frozenset({"letters"}),
    "confirm": frozenset({"signature"}),
    "reveal": frozenset({"letters"}),
}
LETTER_BYTES = {"letters": SEALED_BYTES, "reveal": KEY_BYTES}


class SecureRequest(BaseModel):
    """What the server asks in one step; each step has its own fields."""

    model_config = ConfigDict(frozen=True, ser_json_bytes="base64", val_json_bytes="base64")

    context: str  # names the run, the training and the round
    step: Literal["keys", "letters", "vector", "confirm", "reveal"]
    announced: dict[str, KeyAnnouncement] = {}  # letters: the keys of all sites of the round
    identities: dict[str, bytes] = {}  # letters: public keys of simulated sites, PEM
    letters: dict[str, bytes] = {}  # vector: those to the site, by sender
    most: int = 0  # vector: what the updates of the round's sites weigh together at most
    sources: tuple[str, ...] = ()  # vector: those that are validated at any site
    trains: bool = False  # vector: whether it has a part for updates
    validates: bool = False  # vector: whether it has a part for validation
    survivors: tuple[str, ...] = ()  # confirm
    confirmations: dict[str, bytes] = {}  # reveal: signatures by site


class SecureReply(BaseModel):
    """What a site answers to a step."""

    model_config = ConfigDict(frozen=True, ser_json_bytes="base64", val_json_bytes="base64")

    site: str
    announced: KeyAnnouncement | None = None  # keys
    identity: bytes = b""  # keys: the public key of a simulated site, PEM
    sources: tuple[str, ...] = ()  # keys: those whose records the site validates
    letters: dict[str, bytes] = {}  # letters: by receiver; reveal: shares by whose they are
    signature: bytes = b""  # confirm


def secure_step_request(job: Job, node: int, number: int, asked: SecureRequest) -> Message:
    """Ask a node for a step without a vector."""
    config = run_settings(job)
    config["server-round"] = number
    config[SECURE] = asked.model_dump_json()
    return Message(RecordDict({CONFIG: config}), node, MessageType.QUERY)


def with_secure_step(request: Message, asked: SecureRequest) -> Message:
    """A request to train or to evaluate whose answer is to be one masked vector.

    Flower's requests of a round share one content; this one has settings of its own.
    """
    content = request.content
    config = ConfigRecord(dict(record_in(content, CONFIG, ConfigRecord)))
    config[SECURE] = asked.model_dump_json()
    own = RecordDict({ARRAYS: record_in(content, ARRAYS, ArrayRecord), CONFIG: config})
    return Message(own, request.metadata.dst_node_id, request.metadata.message_type)


def read_secure_request(message: Message) -> SecureRequest | None:
    """The step that a request asks for; None for a plain one."""
    content = record_in(message.content, CONFIG, ConfigRecord).get(SECURE)
    return SecureRequest.model_validate_json(str(content)) if content else None


def secure_step_reply(reply: SecureReply, request: Message) -> Message:
    """A node's answer to a step without a vector."""
    config = ConfigRecord({"site": reply.site, SECURE: reply.model_dump_json()})
    return Message(RecordDict({CONFIG: config}), reply_to=request)


def read_secure_reply(message: Message) -> SecureReply:
    """A node's answer to a step; `ValueError` if it is none."""
    text = str(record_in(message.content, CONFIG, ConfigRecord)[SECURE])
    if len(text) > LONGEST_REPLY:
        raise ValueError(f"its answer has {len(text)} characters, more than {LONGEST_REPLY}")
    return SecureReply.model_validate_json(text)


def masked_reply(site: str, vector: Vector, request: Message) -> Message:
    """A node's answer with its vector."""
    arrays = to_array_record({MASKED: vector})
    content = RecordDict({CONFIG: ConfigRecord({"site": site}), ARRAYS: arrays})
    return Message(content, reply_to=request)


def read_masked(message: Message, size: int) -> tuple[str, Vector]:
    """A node's name and its vector; `ValueError` unless that is of the round's size."""
    records = arrays_in(message.content)
    found: NDArray[np.int64] = from_array_record(records.get(ARRAYS, ArrayRecord()))[MASKED]
    if found.dtype != np.int64 or found.shape != (size,):
        raise ValueError(f"its vector is {found.shape} of {found.dtype}, not ({size},) of int64")
    return str(record_in(message.content, CONFIG, ConfigRecord)["site"]), found


def check_secure_egress(reply: Message, request: Message) -> None:
    """`EgressError` unless a hospital's answer to a step holds what is listed and nothing else."""
    if reply.has_error():
        if reply.error.reason not in REASONS.values():
            raise EgressError("an error's own words")
        return
    asked = read_secure_request(request)
    if asked is None:
        raise EgressError("an answer to a step that was not asked for")
    content = reply.content
    words = dict(content.config_records.get(CONFIG, {}))
    if asked.step == "vector":
        arrays = from_array_record(content.array_records.get(ARRAYS, ArrayRecord()))
        if (set(content), set(words), set(arrays)) != ({CONFIG, ARRAYS}, {"site"}, {MASKED}):
            raise EgressError("more than one masked vector")
        if arrays[MASKED].dtype != np.int64 or arrays[MASKED].ndim != 1:
            raise EgressError("a vector that is not one of whole numbers")
    elif (set(content), set(words)) != ({CONFIG}, {"site", SECURE}):
        raise EgressError(f"more than the answer to the step {asked.step!r}")
    else:
        _check_step(read_secure_reply(reply), asked.step)
    if not SITE.fullmatch(str(words["site"])):
        raise EgressError("site is not a name")


def _check_step(reply: SecureReply, step: str) -> None:
    found = {name for name in SecureReply.model_fields if name != "site" and getattr(reply, name)}
    odd = sorted(found - FIELDS[step])
    if odd:
        raise EgressError(f"{odd[0]} in an answer to the step {step!r}")
    if not all(NAME.fullmatch(name) for name in reply.sources):
        raise EgressError("a source is not a name")
    signatures = [reply.signature]
    if reply.announced is not None:
        signatures.append(reply.announced.signature)
        if {len(reply.announced.mask_key), len(reply.announced.channel_key)} != {KEY_BYTES}:
            raise EgressError(f"a key that is not of {KEY_BYTES} bytes")
    if max(map(len, signatures)) > LONGEST_SIGNATURE:
        raise EgressError("what is no signature")
    for name, letter in reply.letters.items():
        if not SITE.fullmatch(name) or len(letter) != LETTER_BYTES[step]:
            raise EgressError("a letter that holds more than shares")
