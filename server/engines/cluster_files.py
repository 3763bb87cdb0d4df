"""What crosses a Ray cluster whose machines share no disk: cache folders and a site's own files."""

import csv
import io
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from flwr.app import Message, MessageType

from fl.config.run_config import POOLED
from fl.data.example_cache import FILES, is_complete
from fl.messages.flower_codec import read_job, read_round
from fl.util.atomic_io import write_atomically
from fl.util.errors import DataError
from partitions.partition import CENTRAL, UNSEEN

PIECE = 32 * 2**20  # bytes of a cache file that travel at once
SITES = Path("checkpoint") / "sites"  # what sites keep between requests, in the run directory
FOR_TRAINING = ("optimizer", "extra")  # folders of a site that an evaluation does not read
ROUNDS_KEPT = 2  # files of these that are kept, as a site itself keeps them

Files = dict[str, bytes]  # contents by path below SITES
ReadPiece = Callable[[str, str, int], bytes]  # cache folder, file, first byte -> the bytes


class CacheSender:
    """Reads cache folders for machines that have no copy; runs on the machine that has them."""

    def __init__(self, folders: Iterable[str]) -> None:
        self._folders = {Path(folder).name: Path(folder) for folder in folders}

    def read(self, name: str, file: str, start: int) -> bytes:
        """A piece of a file, empty at its end."""
        with (self._folders[name] / file).open("rb") as source:
            source.seek(start)
            return source.read(PIECE)


def fetch_folders(root: Path, names: Iterable[str], read: ReadPiece) -> int:
    """Copy the cache folders that this machine lacks to `root`; the bytes that were fetched."""
    root.mkdir(parents=True, exist_ok=True)
    return sum(_fetch_folder(root / name, read) for name in names if not is_complete(root / name))


def _fetch_folder(path: Path, read: ReadPiece) -> int:
    """Copy a cache folder whole or not at all; its bytes."""
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    total = 0
    try:
        for file in (*FILES, "cache.json"):
            with (temporary / file).open("wb") as copy:
                while piece := read(path.name, file, copy.tell()):
                    copy.write(piece)
                total += copy.tell()
        if not is_complete(temporary):
            raise DataError(f"{path}: the copy differs from what was sent. Run again.")
        shutil.rmtree(path, ignore_errors=True)
        try:
            temporary.rename(path)
        except OSError:
            if not is_complete(path):  # else another run on this machine was faster
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return total


@dataclass(frozen=True)
class SiteFiles:
    """What the sites of a run keep between requests (`SITES`), on the machine of the server."""

    folder: Path  # the run directory
    names: tuple[str, ...]  # of the sites, in the order of their nodes

    @classmethod
    def of_run(cls, folder: Path) -> "SiteFiles":
        """Those of a run directory, with the sites of its partition."""
        rows = csv.DictReader(io.StringIO((folder / "partition.csv").read_text()))
        return cls(folder, tuple(sorted({row["site"] for row in rows} - {CENTRAL, UNSEEN})))

    def needed(self, message: Message, index: int) -> Files:
        """What the site of this index needs for a request: the last file of each kind before it."""
        kind = message.metadata.message_type
        if kind == MessageType.QUERY:
            return {}
        job, number = read_job(message), read_round(message)
        trains = kind == MessageType.TRAIN
        site = POOLED if trains and job.strategy == POOLED else self.names[index]
        root, files = self.folder / SITES, {}
        for folder in (root / site / job.strategy).glob("*"):
            if not trains and folder.name in FOR_TRAINING:
                continue
            # An evaluation may read a file of its own round.
            before = number if trains else number + 1
            known = [p for p in sorted(folder.glob("[0-9]*")) if int(p.stem) < before]
            for path in known[-1:]:
                files[path.relative_to(root).as_posix()] = path.read_bytes()
        return files

    def keep(self, files: Files) -> None:
        """Write what a site wrote into the run directory."""
        root = self.folder / SITES
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content, synced=False)
            if path.parent.name in FOR_TRAINING:
                for old in sorted(path.parent.glob("[0-9]*"))[:-ROUNDS_KEPT]:
                    old.unlink()


def lay_out(root: Path, files: Files) -> None:
    """Make `root` hold these files and nothing else."""
    shutil.rmtree(root, ignore_errors=True)
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def changed_files(root: Path, before: Files) -> Files:
    """The files below `root` that are new or differ from those of `before`."""
    now = {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }
    return {name: content for name, content in now.items() if before.get(name) != content}
