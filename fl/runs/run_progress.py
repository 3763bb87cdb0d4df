"""How far a run is, from what its directory holds now: for whoever watches it from outside."""

import math
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fl.config.run_config import LOCAL
from fl.runs.bounded_files import read_json
from fl.runs.history_reading import LONGEST_NAME, History, read_history
from fl.runs.history_tables import ROUNDS, RoundRow, SiteRow
from fl.runs.remaining_time import Plan, Remaining, TimeLeft, time_left
from fl.runs.run_state import (
    COMPLETED,
    NOT_BEGUN,
    RUNNING,
    UNREADABLE,
    command_of,
    resume_line,
    run_state,
)
from fl.util.cores import available_cores
from fl.util.errors import DataError

RUN_FILE, CHECKPOINT = "run.json", "checkpoint"
MOST_STATE = 16 * 2**20  # bytes of a checkpoint's state.json
MOST_PARTS, MOST_CHECKPOINTS, LONGEST_REASON = 200, 1000, 300
NOT_SITES = ("central", "unseen")  # rows of run.json's sites
PART = re.compile(r"(seed|fold)-\d{1,9}")
CHECKPOINT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class SiteFailures:
    """How often a site was left out of a training for one reason, and when last."""

    strategy: str
    site: str
    reason: str
    times: int
    last_round: int


@dataclass(frozen=True, kw_only=True)
class TrainingSoFar:
    """One training: its rounds, and the last validation of every site."""

    strategy: str
    rows: tuple[RoundRow, ...]
    sites: tuple[SiteRow, ...]

    @property
    def round(self) -> int:
        """Its last validated round."""
        return max((row.round for row in self.rows), default=0)

    @property
    def seconds(self) -> float | None:
        """Of its last round; of local training, all sites' seconds together."""
        known = [r.seconds for r in self.rows if not r.averaged and math.isfinite(r.seconds)]
        return known[-1] if known else None


@dataclass(frozen=True, kw_only=True)
class Part:
    """One of a run's seeds or folds."""

    name: str
    state: str


@dataclass(frozen=True, kw_only=True)
class RunProgress:
    """How far a run is."""

    folder: Path
    state: str  # of run_state
    facts: Mapping[str, Any] = field(default_factory=dict)  # run.json
    config: Mapping[str, Any] = field(default_factory=dict)
    trainings: tuple[TrainingSoFar, ...] = ()
    failures: tuple[SiteFailures, ...] = ()
    rounds: int = 0  # of each training
    left: TimeLeft | None = None  # None: no round is over
    parts: tuple[Part, ...] = ()
    current: "RunProgress | None" = None  # the seed or fold that is going, else the last begun
    damaged: int = 0  # cells and lines of the tables that could not be read
    problems: tuple[str, ...] = ()  # files that could not be read, and why

    @property
    def resume(self) -> str:
        """The command that continues the run."""
        return resume_line(self.folder, command_of(self.facts))

    @property
    def leaf(self) -> "RunProgress":
        """The run itself, or of several seeds or folds the one that is going."""
        return self.current.leaf if self.current else self

    @property
    def stage(self) -> str:
        """What a run that is going does now."""
        leaf = self.leaf
        if not leaf.facts.get("data") and not leaf.trainings:
            return "reading and preparing recordings"
        if leaf.left is not None and leaf.left.seconds == 0:
            return "testing the models"
        return "training"


def read_progress(folder: Path) -> RunProgress:
    """A run directory as it is now. A file that cannot be read is named, and raises nothing."""
    try:
        facts = read_json(folder / RUN_FILE)
    except DataError as error:
        return RunProgress(folder=folder, state=UNREADABLE, problems=(str(error),))
    config = facts.get("config")
    problems: list[str] = []
    try:
        history = read_history(folder)
    except DataError as error:
        history = History()
        problems.append(str(error))
    progress = RunProgress(
        folder=folder,
        state=run_state(folder, facts),
        facts=facts,
        config=config if isinstance(config, dict) else {},
        trainings=tuple(_trainings(history)),
        damaged=history.damaged,
        problems=tuple(problems),
    )
    names = part_names(facts)
    return _with_parts(progress, names) if names else _with_rounds(progress, history)


def part_names(facts: Mapping[str, Any]) -> list[str]:
    """The directories of a run's seeds or folds; empty for a run that has none."""
    seeds, folds = facts.get("seeds"), facts.get("folds")
    names: list[str] = []
    if isinstance(seeds, list):
        names = [f"seed-{seed}" for seed in seeds[:MOST_PARTS]]
    elif isinstance(folds, list):
        names = [str(name) for name in folds[:MOST_PARTS]]
    return [name for name in names if PART.fullmatch(name)]


def _with_parts(progress: RunProgress, names: list[str]) -> RunProgress:
    """Of a run of several seeds or folds: the state of each, and how far the current one is."""
    read = {n: read_progress(progress.folder / n) for n in names if _begun(progress.folder / n)}
    states = {name: read[name].state if name in read else NOT_BEGUN for name in names}
    open_ones = [p for p in read.values() if p.state != COMPLETED]
    current = next(iter(open_ones), [*read.values()][-1] if read else None)
    left = None
    if current is not None and current.left is not None:
        whole, waiting = current.left.of_whole, len(names) - len(read)
        left = TimeLeft(seconds=current.left.seconds + waiting * whole, of_whole=len(names) * whole)
    return replace(
        progress,
        parts=tuple(Part(name=name, state=state) for name, state in states.items()),
        current=current,
        left=left,
        failures=tuple(f for part in read.values() for f in part.failures),
        rounds=current.rounds if current else 0,
    )


def _with_rounds(progress: RunProgress, history: History) -> RunProgress:
    """Of a run by itself: what its sites failed at, and how long its rounds will take."""
    failures = list(_failures(progress))
    try:
        plan = plan_of(progress.config, progress.facts)
    except ValueError:
        return replace(progress, failures=_counted(failures))
    finished = progress.facts.get("trainings")
    left = time_left(plan, history.rounds, finished if isinstance(finished, dict) else ())
    if left is not None and progress.state == RUNNING:
        left = replace(left, seconds=max(left.seconds - _under_way(progress), 0.0))
    return replace(progress, failures=_counted(failures), rounds=plan.rounds, left=left)


def plan_of(config: Mapping[str, Any], facts: Mapping[str, Any]) -> Plan:
    """The rounds a run has to do; `ValueError` if run.json does not say how many."""
    rows, machine = facts.get("sites"), facts.get("machine")
    named = [
        row["site"]
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict) and row.get("site") and row["site"] not in NOT_SITES
    ]
    clients = config.get("clients")
    sites = len(named) or (clients if isinstance(clients, int) and 0 < clients < 10**6 else 1)
    cores = machine.get("cores") if isinstance(machine, dict) else None
    return Plan.of(config, sites, cores if isinstance(cores, int) else available_cores())


def remaining_of(folder: Path, config: Mapping[str, Any], facts: Mapping[str, Any]) -> Remaining:
    """The time left of the run that this process is about to train, or go on with, in `folder`.

    A seed or fold counts those of its parent that have not begun. `facts` are those of run.json.
    """
    try:
        rounds = list(read_history(folder).rounds)
    except DataError:
        rounds = []  # the run writes the table again
    return Remaining(plan=plan_of(config, facts), rows=rounds, parts_to_come=_parts_to_come(folder))


def _parts_to_come(folder: Path) -> int:
    """Single runs that follow this one: folds of its seed, and of the seeds after it."""
    if not PART.fullmatch(folder.name):
        return 0
    try:
        facts = read_json(folder.parent / RUN_FILE)
    except DataError:
        return 0  # a part that was copied elsewhere
    names = part_names(facts)
    if folder.name not in names:
        return 0
    after = sum(not _begun(folder.parent / name) for name in names)
    return after + _parts_to_come(folder.parent) * len(names)


def _under_way(progress: RunProgress) -> float:
    """Seconds of the round that is going, at most those that the last one took."""
    last = [row.seconds for t in progress.trainings for row in t.rows[-1:]]
    try:
        since = time.time() - os.lstat(progress.folder / ROUNDS).st_mtime
    except OSError:
        return 0.0
    most = last[-1] if last and math.isfinite(last[-1]) else 0.0
    return min(max(since, 0.0), most)


def _trainings(history: History) -> Iterator[TrainingSoFar]:
    """The trainings in the order of rounds.csv."""
    rows: dict[str, list[RoundRow]] = {}
    for row in history.rounds:
        rows.setdefault(row.strategy, []).append(row)
    last: dict[str, dict[str, SiteRow]] = {name: {} for name in rows}
    for at_site in history.sites:
        if at_site.strategy in last and at_site.split == "val":
            last[at_site.strategy][at_site.site] = at_site
    for name, lines in rows.items():
        sites = sorted(last[name].values(), key=lambda row: _natural(row.site))
        yield TrainingSoFar(strategy=name, rows=tuple(lines), sites=tuple(sites))


def _natural(name: str) -> list[tuple[int, str]]:
    """site-2 before site-10."""
    return [(int(text) if text.isdecimal() else 0, text) for text in re.split(r"(\d{1,9})", name)]


def _failures(progress: RunProgress) -> Iterator[Mapping[str, Any]]:
    """Failures that run.json lists of trainings that are over, and the checkpoints of the rest."""
    listed, over = progress.facts.get("failures"), progress.facts.get("trainings")
    yield from (f for f in (listed if isinstance(listed, list) else []) if isinstance(f, dict))
    over = set(over) if isinstance(over, dict) else set()
    for path in _checkpoints(progress.folder / CHECKPOINT):
        name = path.name
        strategy = LOCAL if name.startswith(f"{LOCAL}-") else name
        if strategy in over:
            continue
        try:
            newest = max(n for n in os.listdir(path) if n[:1].isdecimal())
            state = read_json(path / newest / "state.json", MOST_STATE).get("state")
        except (OSError, ValueError, DataError):
            continue  # of a checkpoint that is just being replaced
        found = state.get("failures") if isinstance(state, dict) else None
        for failure in found if isinstance(found, list) else []:
            if isinstance(failure, dict):
                yield {"strategy": strategy} | failure


def _checkpoints(folder: Path) -> list[Path]:
    """The folders of trainings under checkpoint/."""
    try:
        names = sorted(os.listdir(folder))[:MOST_CHECKPOINTS]
    except OSError:
        return []
    paths = [folder / name for name in names if CHECKPOINT_NAME.fullmatch(name)]
    return [path for path in paths if path.is_dir() and not path.is_symlink()]


def _counted(failures: Iterable[Mapping[str, Any]]) -> tuple[SiteFailures, ...]:
    """The same failure of a site in several rounds is one line."""
    found: dict[tuple[str, str, str], SiteFailures] = {}
    for failure in failures:
        number = failure.get("round")
        key = (
            str(failure.get("strategy", ""))[:LONGEST_NAME],
            str(failure.get("site", ""))[:LONGEST_NAME],
            str(failure.get("reason", ""))[:LONGEST_REASON],
        )
        last = number if isinstance(number, int) and 0 <= number < 10**9 else 0
        before = found.get(key)
        found[key] = SiteFailures(
            strategy=key[0],
            site=key[1],
            reason=key[2],
            times=before.times + 1 if before else 1,
            last_round=max(last, before.last_round) if before else last,
        )
    return tuple(found.values())


def _begun(folder: Path) -> bool:
    return os.path.lexists(folder / RUN_FILE) and not folder.is_symlink()
