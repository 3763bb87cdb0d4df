"""A site's audit log, without loading anything that trains."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fl
from clients.deploy.site_policy.policy_file import POLICY, SitePolicy, policy_of
from fl.messages.invitation import fingerprint
from fl.privacy.audit_log.digests import text_digest
from fl.privacy.audit_log.log_file import FOLDER_NAME, AuditLog, shared_log
from fl.privacy.egress_policy import PolicyRefusal
from fl.util.file_digest import file_digest

if TYPE_CHECKING:
    from clients.deploy.joined_site import JoinedSite


def site_log(folder: Path) -> AuditLog:
    """The audit log in a site's folder, kept as long as its policy says."""
    return shared_log(folder / FOLDER_NAME, policy_or_defaults(folder).audit_keep_days)


def head_facts(folder: Path, site: str) -> dict[str, Any] | None:
    """The last line of a site's log as its run.json keeps it; None if there is none."""
    try:
        head = site_log(folder).head()
    except OSError:
        return None
    return {"of": site, **asdict(head)} if head.line else None


def policy_digest(folder: Path) -> str:
    """SHA-256 of a site's policy as it is now; empty if it cannot be read."""
    try:
        return file_digest(folder / POLICY)
    except OSError:
        return ""


def serving_event(site: "JoinedSite") -> dict[str, Any]:
    """That a site begins to serve: for whom, with which key, program and policy."""
    settings, folder = site.settings, site.folder
    key = folder.public_key
    return {
        "event": "serving",
        "site": site.name,
        "federation": site.invitation.federation,
        "coordinator": site.invitation.address,
        "authority": text_digest(site.invitation.ca),
        "key": fingerprint(key.read_bytes()) if key.is_file() else "",
        "version": fl.__version__,
        "task": settings.task,
        "min-count": settings.min_count,
        "policy-sha256": policy_digest(folder.path),
    }


def policy_or_defaults(folder: Path) -> SitePolicy:
    """The policy; where it cannot be used every request is refused, and the defaults hold here."""
    try:
        return policy_of(folder)
    except PolicyRefusal:
        return SitePolicy(tasks=[])
