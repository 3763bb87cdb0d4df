"""What an audit log notes of a message: digests, counts and settings, at both ends the same.

Nothing here is about one patient or one recording, and no text of an error: a reply has no place
for the first (`fl/privacy/egress_policy.py`), and the second may name a file.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from flwr.app import ArrayRecord, Message
from pydantic import ValidationError

from fl.messages.flower_arrays import from_array_record
from fl.messages.flower_codec import (
    ARRAYS,
    CONFIG,
    METRICS,
    RULE,
    VALIDATE_FIRST,
    VALIDATION_PREFIX,
)
from fl.messages.flower_secure_codec import SECURE
from fl.messages.job import Job
from fl.privacy import egress_policy
from fl.privacy.audit_log.digests import arrays_digest, text_digest
from fl.util.one_line import one_line

Facts = dict[str, Any]
# Keys of a request's settings, and what they are called in a log.
ASKED = {
    "server-round": "round",
    "split": "split",
    VALIDATE_FIRST: "validate-first",
    "proximal-mu": "mu",
}
OTHER_WORDS = "words of its own"  # of an error that is none of the general reasons


def request_facts(message: Message, with_settings: bool) -> Facts:
    """Of a request: its kind, round and split, the run, its settings and digests.

    `with_settings`: also the settings that are not the defaults, beside their digest.
    """
    return _whatever_it_holds(lambda: _request_facts(message, with_settings), message)


def reply_facts(message: Message) -> Facts:
    """Of a reply: digests of its arrays, its numbers, names and measures; or its reason."""
    return _whatever_it_holds(lambda: _reply_facts(message), message)


def settings_facts(job: Job) -> Facts:
    """A run's settings as its sites are sent them: the digest, and what is not the default."""
    sent = job.for_sites()
    facts = {
        "run": sent.run,
        "strategy": sent.strategy,
        "version": sent.version,
        "sites-expected": sent.expected_sites,
        "settings": sent.config.model_dump(mode="json", exclude_defaults=True),
    }
    return facts | {"settings-sha256": text_digest(sent.model_dump_json())}


def _whatever_it_holds(read: Callable[[], Facts], message: Message) -> Facts:
    """The facts of a message, or of what kind of error it is that they cannot be read."""
    try:
        return read()
    except MemoryError:  # of this machine
        raise
    except Exception as error:
        return {"kind": message.metadata.message_type, "unreadable": type(error).__name__}


def _request_facts(message: Message, with_settings: bool) -> Facts:
    facts: Facts = {"kind": message.metadata.message_type}
    if not message.has_content():
        return facts
    records = dict(message.content)
    config = dict(records.pop(CONFIG, None) or {})
    arrays = _array_facts(records.pop(ARRAYS, None))
    facts |= {name: config[key] for key, name in ASKED.items() if key in config}
    if SECURE in config:
        facts["secure"] = _secure_facts(str(config[SECURE]))
    if RULE in config:
        facts["rule-sha256"] = text_digest(str(config[RULE]))
    text = str(config.get("job", ""))
    facts["settings-sha256"] = text_digest(text)
    if with_settings:
        try:
            # The digest of the text as it was sent stands.
            facts = settings_facts(Job.model_validate_json(text)) | facts
        except ValidationError:
            facts["settings"] = "unreadable"
    return facts | ({"arrays": arrays} if arrays else {}) | _others(records)


def _reply_facts(message: Message) -> Facts:
    if message.has_error():
        reason = str(message.error.reason)
        return {"reason": reason if reason in egress_policy.REASONS.values() else OTHER_WORDS}
    facts: Facts = {}
    records = dict(message.content)
    for before in ("", VALIDATION_PREFIX):
        texts: Facts = dict(records.pop(f"{before}{CONFIG}", None) or {})
        if SECURE in texts:  # keys, letters that only others can open, or shares
            texts[SECURE] = text_digest(str(texts[SECURE]))
        numbers = dict(records.pop(f"{before}{METRICS}", None) or {})
        measures = _measures(str(texts.pop("report", "{}")))
        arrays = _array_facts(records.pop(f"{before}{ARRAYS}", None))
        found = {"names": texts, "numbers": numbers, "measures": measures, "arrays": arrays}
        facts |= {f"{before}{name}": value for name, value in found.items() if value}
    return facts | _others(records)


def _secure_facts(text: str) -> Facts:
    """Which step of which secure sum, and the digest of all that came with it."""
    asked = json.loads(text)
    named = {name: one_line(str(asked[name])) for name in ("step", "context") if name in asked}
    return named | {"sha256": text_digest(text)}


def _array_facts(record: object) -> Facts:
    """Of the arrays of a record, if it has any: their number and digest."""
    if not isinstance(record, ArrayRecord) or not record:
        return {}
    found = from_array_record(record)
    return {"number": len(found), "sha256": arrays_digest(found)}


def _others(records: Mapping[str, object]) -> Facts:
    """How many records a message has that none of this program has."""
    return {"other-records": len(records)} if records else {}


def _measures(text: str) -> Facts:
    """The digest of a site's report, and its figures over all classes."""
    report = json.loads(text)
    if not report:
        return {}
    figures = {
        one_line(name): value
        for name, value in report.items()
        if isinstance(value, int | float) or (isinstance(value, Mapping) and "value" in value)
    }
    return {"sha256": text_digest(text), "classes": sorted(report.get("classes", {}))} | figures
