"""A run that is made of runs, one for each seed or fold, each in a directory of its own."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fl.config.run_config import RunConfig
from fl.runs.run_lock import run_lock
from fl.runs.run_record import RunRecord
from server.experiment.run import Session

RunPart = Callable[[Session, RunConfig, RunRecord, bool], None]


@dataclass(frozen=True, kw_only=True)
class Part:
    """One of the runs that a run is made of."""

    name: str  # of its directory: `seed-10`, `fold-1`
    config: RunConfig


def run_parts(
    session: Session, record: RunRecord, parts: Sequence[Part], run: RunPart, last: bool
) -> list[Path]:
    """Every part by itself: those that are complete are kept, one that stopped continues.

    `last` says that nothing follows, so that the last part may end the workers. Returns the parts'
    directories.
    """
    folders = [record.folder / part.name for part in parts]
    for part, folder in zip(parts, folders, strict=True):
        if not session.options.quiet:
            session.console.rule(part.name.replace("-", " "))
        ends = last and part is parts[-1]
        folder.mkdir(exist_ok=True)
        with run_lock(folder):  # someone may resume a part by itself
            part_record = _open_part(session, part, folder)
            if part_record is None:
                session.console.print(f"{folder} is complete and kept.")
            else:
                run(session, part.config, part_record, ends)
    return folders


def _open_part(session: Session, part: Part, folder: Path) -> RunRecord | None:
    """The part's new or continued directory; None if the part is complete."""
    if not (folder / "run.json").exists():
        return RunRecord.new(folder, part.config, session.selection.synthetic)
    record = RunRecord.read(folder)
    if record.content["status"] == "completed":
        return None
    record.record_resumption()
    return record


@contextmanager
def marked_if_it_fails(record: RunRecord) -> Iterator[None]:
    """Write into run.json that the run failed and why, if it does."""
    try:
        yield
    except BaseException as error:
        record.update(status="failed", error=f"{type(error).__name__}: {error}")
        raise
