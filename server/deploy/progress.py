"""A run's progress, from the ServerApp that trains to the commands that show it.

The SuperLink starts the ServerApp in a process of its own. It writes a line for each step into
progress.jsonl of the run directory; `run` and `status` read them.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fl.util.child_process import raise_if_stopping
from fl.util.errors import FederationError
from server.deploy.federation_store import FederationFolder
from server.deploy.superlink_client import run_state

if TYPE_CHECKING:
    from fl.messages.payloads import SiteInfo
    from fl.reports.terminal.progress import PlainView
    from fl.runs.history_tables import RoundRow
    from fl.runs.run_record import RunRecord

PROGRESS = "progress.jsonl"
LOOK = 0.2  # seconds between looks at a run's progress
ASK = 5.0  # seconds between questions to the SuperLink whether the run still lives


class ProgressWriter:
    """A listener of the round loop that writes each step as a line."""

    def __init__(
        self,
        path: Path,
        classes: Sequence[str],
        begun: Callable[[list[dict[str, Any]]], None] = lambda sites: None,
    ) -> None:
        """`begun` is given the rows of run.json's sites when a training begins."""
        self._path, self._classes, self._begun = path, classes, begun

    def training(self, strategy: str, rounds: int, sites: Sequence["SiteInfo"]) -> None:
        self._write("training", strategy, rounds, [asdict(site) for site in sites])
        self._begun(site_rows([asdict(site) for site in sites], self._classes))

    def site(self, round_number: int, site: str, doing: str, note: str) -> None:
        self._write("site", round_number, site, doing, note)

    def round(self, row: "RoundRow") -> None:
        self._write("round", asdict(row))

    def baseline_round(self, site: str, row: "RoundRow", last: bool) -> None:
        """Hospitals do not train alone here: a comparison needs their records in one place."""

    def _write(self, step: str, *details: object) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps([step, *details]) + "\n")


def site_rows(sites: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of run.json for sites, from their first words.

    Patients of each split; and None or nothing for what a hospital does not report.
    """
    return [
        {"site": s["site"], "train": s["n_train"], "val": s["n_val"], "test": s["n_test"]}
        | {"sources": [], "groups": [], "patients": None, "labels": dict.fromkeys(classes)}
        for s in sites
    ]


def sites_that_trained(run: Path, classes: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of run.json for the sites of the run's last training; none if that is not kept."""
    for step, *details in reversed(next(_new_steps(run))):
        if step == "training":
            return site_rows(details[2], classes)
    return []


def watch(folder: FederationFolder, record: "RunRecord", view: "PlainView") -> None:
    """Show a run's progress until it has ended; `FederationError` if it did not end well."""
    run_id = record.content["flower_run"]
    steps, asked, state = _new_steps(record.folder), time.monotonic(), ""
    try:
        while True:
            for step, *details in next(steps):
                _show(view, step, details)
            if state:
                break
            status = record.read(record.folder).content["status"]
            if status != "running":
                state = str(status)
            elif time.monotonic() - asked > ASK:
                asked = time.monotonic()
                ended = run_state(folder, run_id)
                state = ended if ended.startswith("finished") or ended == "unknown" else ""
            raise_if_stopping()
            time.sleep(0 if state else LOOK)
    finally:
        view.close()
    record.content = record.read(record.folder).content
    if record.content["status"] != "completed":
        raise FederationError(str(record.content.get("error") or f"the run ended: {state}"))


def _show(view: "PlainView", step: str, details: list[Any]) -> None:
    if step == "training":
        from fl.messages.payloads import SiteInfo

        details[2] = [SiteInfo(**site) for site in details[2]]
    elif step == "round":
        from fl.runs.history_tables import RoundRow

        details = [RoundRow(**details[0])]
    getattr(view, step)(*details)


def _new_steps(folder: Path) -> Iterator[list[list[Any]]]:
    """The steps written since the last look, again and again."""
    path, at = folder / PROGRESS, 0
    while True:
        text = path.read_text()[at:] if path.exists() else ""
        complete = text[: text.rfind("\n") + 1]
        at += len(complete)
        yield [json.loads(line) for line in complete.splitlines()]


def progress_line(job: Path) -> str:
    """One line: the run that a file of jobs/ describes, its state and its round."""
    described = json.loads(job.read_text())
    folder = Path(described["workspace"])
    try:
        state = json.loads((folder / "run.json").read_text())["status"]
        steps = [json.loads(line) for line in (folder / PROGRESS).read_text().splitlines()]
    except OSError:
        return f"Last run: {folder} (not begun, moved or deleted)"
    rounds = [details[0]["round"] for step, *details in steps if step == "round"]
    done = rounds[-1] if rounds else 0
    return f"Last run: {folder}: {state}, round {done} of {described['config']['rounds']}"
