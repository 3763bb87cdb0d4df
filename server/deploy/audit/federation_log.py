"""The audit log in a federation's folder, without loading anything that trains.

A line that cannot be written, on a full disk say, is a warning in the coordinator's log and is
counted in the next line; the run goes on. Each site keeps a log of its own, with the same digests.
"""

import argparse
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fl.privacy.audit_log.chain import Head
from fl.privacy.audit_log.commands import audit
from fl.privacy.audit_log.log_file import FOLDER_NAME, MOST_DAYS, AuditLog, shared_log
from fl.util.errors import ConfigError
from server.deploy.federation_store import FederationFolder


def federation_log(folder: FederationFolder) -> AuditLog:
    """A federation's audit log, kept as long as its settings say."""
    return shared_log(folder.path / FOLDER_NAME, folder.settings().audit_keep_days)


def note(folder: FederationFolder, event: str, **facts: Any) -> Head | None:
    """Add a line about an event; the log's last line, None if it could not be written."""
    named = {k.replace("_", "-"): v for k, v in facts.items()}
    return federation_log(folder).try_append({"event": event} | named)


def note_order(folder: FederationFolder, event: str, **facts: Any) -> None:
    """Add a line about what somebody at the coordinator ordered: also which account did."""
    note(folder, event, by_user=os.getuid(), **facts)


def head_facts(head: Head | None) -> dict[str, Any] | None:
    """A log's last line as run.json keeps it; None if it could not be written."""
    return None if head is None else {"of": "coordinator", **asdict(head)}


def print_head(folder: FederationFolder) -> None:
    """Print the log's last line, for people to keep elsewhere."""
    with suppress(OSError):
        head = federation_log(folder).head()
        if head.line:
            print(f"Audit log: {head}. Keep this line elsewhere: it shows later changes.")


def audit_log(options: argparse.Namespace) -> int:
    """Check or print a federation's audit log."""
    folder = FederationFolder(options.federation.absolute())
    folder.settings()
    return audit(options, Path(folder.path / FOLDER_NAME))


def require_days(days: int) -> int:
    """`ConfigError` unless it is a number of days, or 0."""
    if not 0 <= days <= MOST_DAYS:
        raise ConfigError(f"--audit-keep-days is {days}. Give at most {MOST_DAYS}; 0 keeps all.")
    return days
