"""The run directories that the pages show; no name from a browser leads out of their folder."""

import os
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path

from fl.runs.overview import RunOverview, read_overview_leniently
from fl.runs.results import SEEDS, SUMMARY
from fl.runs.run_progress import PART, RUN_FILE
from fl.runs.run_state import RUNNING
from heartfed.web.settings import Settings

MOST_RUNS = 5000  # of a folder
LONGEST_NAME = 255  # bytes; no usual file system has longer ones
REPORT_FILE = re.compile(r"(?:(?:seed|fold)-\d{1,9}/){0,2}report/(?:sites/)?[^/\0]{1,200}\.html")
Signature = tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The runs of a folder, and how many entries are not shown because they lead out of it."""

    runs: tuple[RunOverview, ...]
    outside: int = 0
    too_many: int = 0


@dataclass
class Catalog:
    """The runs in a folder, and the one named on the command line; what was read is remembered."""

    settings: Settings
    _known: dict[Path, tuple[Signature, RunOverview]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def folder(self) -> Path:
        """The parent of the run directories."""
        return self.settings.runs

    def listing(self) -> Listing:
        """All runs, the newest first."""
        names = self._names()
        folders = {name: self.find(name) for name in names[:MOST_RUNS]}
        runs = [self.overview(folder) for folder in folders.values() if folder is not None]
        runs.sort(key=lambda run: (run.started, run.folder.name), reverse=True)
        return Listing(
            runs=tuple(runs),
            outside=sum(found is None for found in folders.values()),
            too_many=max(len(names) - MOST_RUNS, 0),
        )

    def find(self, name: str, part: str = "") -> Path | None:
        """The directory of a run, or of one of its seeds or folds; None for anything else."""
        parts = part.split("/") if part else []
        if not is_plain(name) or len(parts) > 2 or not all(map(PART.fullmatch, parts)):
            return None
        for root in self._roots(name):
            folder = root.joinpath(name, *parts)
            if is_inside(folder, root) and os.path.lexists(folder / RUN_FILE):
                return folder
        return None

    def report_file(self, name: str, path: str) -> Path | None:
        """A page of a run's report; None for any other file, and for one that leads elsewhere."""
        folder = self.find(name)
        if folder is None or not REPORT_FILE.fullmatch(path) or ".." in path.split("/"):
            return None
        file = folder / path
        return file if is_inside(file, folder) and file.is_file() else None

    def overview(self, folder: Path) -> RunOverview:
        """A run in a few words, read again when its files have changed."""
        signature = signature_of(folder)
        with self._lock:
            known = self._known.get(folder)
        # Whether a run is still going no file shows: a killed one changes none.
        if known is not None and known[0] == signature and known[1].status != RUNNING:
            return known[1]
        found = read_overview_leniently(folder)
        with self._lock:
            if len(self._known) > 2 * MOST_RUNS:
                self._known.clear()
            self._known[folder] = (signature, found)
        return found

    def _names(self) -> list[str]:
        """Entries of the folder that could be runs, and the run named on the command line."""
        own = self.settings.run
        names = {own.absolute().name} if own is not None else set()
        try:
            entries = os.listdir(self.folder)
        except OSError:
            entries = []
        names |= {n for n in entries if is_plain(n) and os.path.lexists(self.folder / n / RUN_FILE)}
        return sorted(names)

    def _roots(self, name: str) -> list[Path]:
        """Where a run of this name may lie: the folder, or beside the run of the command line."""
        own = self.settings.run
        if own is not None and own.absolute().name == name:
            return [self.folder, own.absolute().parent]
        return [self.folder]


def is_plain(name: str) -> bool:
    """Whether a text is the name of one entry of a folder, and can be written in an address."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        return False
    try:
        return len(name.encode()) <= LONGEST_NAME
    except UnicodeEncodeError:  # bytes of a file name that are no UTF-8
        return False


def is_inside(path: Path, root: Path) -> bool:
    """Whether a path, with every link in it followed, is below a folder."""
    try:
        return path.resolve().is_relative_to(root.resolve()) and path.resolve() != root.resolve()
    except (OSError, RuntimeError, ValueError):  # a link to itself
        return False


def signature_of(folder: Path) -> Signature:
    """Changes with the files that an overview is read from."""
    return tuple(_stamp(folder / name) for name in (RUN_FILE, SUMMARY, SEEDS))


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
