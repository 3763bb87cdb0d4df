"""The start, the rounds and the end of a run in the coordinator's audit log."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fl.messages.job import Job
from fl.messages.message_facts import settings_facts
from fl.messages.payloads import SiteInfo
from fl.privacy.audit_log.chain import Head
from fl.privacy.audit_log.digests import arrays_digest
from fl.privacy.audit_log.log_file import AuditLog
from fl.runs.history_tables import RoundRow
from fl.runs.listener import Listener
from fl.training.state_dict import load_weights

NOTED = ("failed", "clipped", "joined")  # what happened to a site, or to a reply after it came


class AuditedListener:
    """Another listener, before whom first words, refusals and rounds are noted."""

    def __init__(self, listener: Listener, log: AuditLog, run: str) -> None:
        self._listener, self._log, self._run = listener, log, run

    def training(self, strategy: str, rounds: int, sites: Sequence[SiteInfo]) -> None:
        first = [asdict(site) for site in sites]
        self._note("training", strategy=strategy, rounds=rounds, first_words=first)
        self._listener.training(strategy, rounds, sites)

    def site(self, round_number: int, site: str, doing: str, note: str) -> None:
        if doing in NOTED:
            self._note(doing, site=site, round=round_number, reason=note)
        self._listener.site(round_number, site, doing, note)

    def round(self, row: RoundRow) -> None:
        counted = {"participants": row.participants, "failures": row.failures}
        self._note("round", round=row.round, strategy=row.strategy, **counted)
        self._listener.round(row)

    def baseline_round(self, site: str, row: RoundRow, last: bool) -> None:
        self._listener.baseline_round(site, row, last)

    def _note(self, event: str, **facts: Any) -> None:
        named = {k.replace("_", "-"): v for k, v in facts.items()}
        self._log.try_append({"event": event, "run": self._run} | named)


def note_start(log: AuditLog, job: Job, flower_run: int) -> None:
    """A run that begins, or goes on: its settings as the sites are sent them, and its sites."""
    sites = dict(sorted(job.nodes.items()))
    event = {"event": "run-started", "flower-run": flower_run, "sites": sites}
    log.try_append(event | settings_facts(job))


def note_end(log: AuditLog, job: Job, status: str, reason: str = "") -> Head | None:
    """A run that is over, with the digests of its models; the log's last line."""
    event: dict[str, Any] = {"event": "run-ended", "run": job.run, "status": status}
    if reason:
        event["reason"] = reason
    return log.try_append(event | {"models": _models(Path(job.workspace) / "weights")})


def _models(folder: Path) -> dict[str, str]:
    """Digest of every model that a run left; a damaged one must not hide how the run ended."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            found[path.stem] = arrays_digest(load_weights(path))
        except Exception as error:
            found[path.stem] = f"unreadable ({type(error).__name__})"
    return found
