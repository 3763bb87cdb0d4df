"""A site's audit log: every request as it came, and what was answered, before the answer leaves.

Two lines a request: `asked` before anything is done, so that also a request that ends the process
leaves one, and `answered`, `refused` or `failed`. What a line cannot record does not leave, unless
the policy says otherwise (`audit_required`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clients.deploy.site_policy.site_log import policy_digest, policy_or_defaults, site_log
from fl.messages.message_facts import reply_facts, request_facts
from fl.privacy.audit_log.log_file import warn_unwritten
from fl.privacy.egress_policy import PolicyRefusal, reason_code

REFUSED = ("version", "settings")  # codes of refusals that are not of the policy


class RequestAudit:
    """The lines of one request to a site. Requests and replies are Flower's messages."""

    def __init__(self, node_config: Mapping[str, Any], request: Any) -> None:
        self.folder = Path(str(node_config["folder"]))
        metadata = request.metadata
        self._who = {
            "site": str(node_config["site"]),
            "flower-run": metadata.run_id,
            "message": metadata.message_id,
            "from-node": metadata.src_node_id,
        }
        self._kind = {"kind": metadata.message_type}

    def asked(self, request: Any) -> None:
        """The request, with its arrays unpacked; `PolicyRefusal` if it cannot be recorded."""
        facts = self._who | request_facts(request, with_settings=True)
        self._kind = {k: facts[k] for k in ("kind", "run", "round", "split") if k in facts}
        policy = policy_digest(self.folder)
        self._record({"event": "asked"} | facts | {"policy-sha256": policy})

    def answered(self, reply: Any) -> dict[str, Any]:
        """The facts of the reply that is about to leave; `PolicyRefusal` if not recorded."""
        facts = reply_facts(reply)
        about = self._who | self._kind | {"permitted": True}
        self._record({"event": "answered"} | about | facts)
        return facts

    def not_answered(self, error: BaseException) -> None:
        """Why no reply leaves, by the general reason alone: an error's text may name a file."""
        code = reason_code(error)
        refused = isinstance(error, PolicyRefusal) or code in REFUSED
        event = {"event": "refused" if refused else "failed", "permitted": not refused}
        site_log(self.folder).try_append(event | self._who | self._kind | {"code": code})

    def _record(self, event: Mapping[str, Any]) -> None:
        log = site_log(self.folder)
        try:
            log.append(event)
        except OSError as error:
            warn_unwritten(log.folder, error)
            if policy_or_defaults(self.folder).audit_required:
                raise PolicyRefusal("audit", f"the audit log cannot be written ({error})") from None
