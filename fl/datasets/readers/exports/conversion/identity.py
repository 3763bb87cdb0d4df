"""Who a recording is of: used to group recordings, and never written.

A file's own fields are read only where recordings are converted, and only to make a pseudonym.
Training and prediction never look at them.
"""

import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from fl.util.errors import ConfigError

KEY_FILE = ".pseudonym-key"
KEY_BYTES = 32
OLDEST = 90  # years: a higher age is so rare that it names a person


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a file says of its patient. Not in the repr, which ends in tracebacks."""

    key: str = field(repr=False)  # id, else name and birth date; "" if the file has neither
    words: tuple[str, ...] = field(repr=False)  # that must not be in a name that is written
    age: int | None  # years at the recording, at most OLDEST
    sex: str  # "F", "M" or ""


def identity_of(parsed: Any) -> Identity:
    """The identity in the library's record of a file."""
    person = parsed.patient
    birth = person.birth_date.date().isoformat() if person.birth_date else ""
    name = " ".join(f"{person.last_name} {person.first_name}".lower().split())
    key = " ".join(str(person.patient_id).lower().split())
    if not key and name and birth:
        key = f"{name}, {birth}"
    words = re.findall(r"\w{3,}", f"{person.patient_id} {name}".lower())
    if person.birth_date:
        words += [f"{person.birth_date:{form}}" for form in ("%Y%m%d", "%d%m%Y", "%m%d%Y")]
    return Identity(
        key=key,
        words=tuple(dict.fromkeys(words)),
        age=_age(person.age, person.birth_date, parsed.recording.date),
        sex=person.sex if person.sex in ("F", "M") else "",
    )


def _age(stated: int | None, birth: datetime | None, recorded: datetime | None) -> int | None:
    age = stated
    if age is None and birth and recorded:
        before = (recorded.month, recorded.day) < (birth.month, birth.day)
        age = recorded.year - birth.year - before
    return min(int(age), OLDEST) if age is not None and 0 <= age <= 130 else None


def names_the_patient(text: str, identity: Identity) -> bool:
    """Whether a text, such as a file's name, has a part of the patient's id, name or birth date."""
    plain = text.lower()
    digits = re.sub(r"[^0-9a-z]", "", plain)
    return any(word in plain or word in digits for word in identity.words)


def pseudonym(identity: Identity, key: bytes) -> str:
    """The same short name for the same patient, which only who has the key could compute; or ""."""
    if not identity.key:
        return ""
    return "p" + hmac.new(key, identity.key.encode(), hashlib.sha256).hexdigest()[:12]


def pseudonym_key(folder: Path) -> bytes:
    """The random key of a folder, made at the first call and readable by its owner alone.

    With it a later conversion gives a patient the same pseudonym. Without it nobody can find out
    the pseudonym of a known id by trying ids. It must stay in the hospital.
    """
    path = folder / KEY_FILE
    try:
        if not path.exists():
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(KEY_BYTES))
        key = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be used ({error.strerror}).") from None
    if len(key) != KEY_BYTES:
        raise ConfigError(
            f"{path}: has {len(key)} bytes, a key of pseudonyms has {KEY_BYTES}. Restore it, or "
            "convert all recordings into a new folder."
        )
    return key
