"""What crosses a Ray cluster whose machines share no disk: cache folders and a site's own files."""

import platform
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

import fl
from fl.data.example_cache import FILES, default_cache_dir, is_complete
from fl.messages.flower_codec import set_local_folders
from fl.runs.run_record import PACKAGES
from fl.util.errors import DataError
from fl.util.gpu_memory import limit_gpu_memory

PIECE = 32 * 2**20  # bytes of a cache file that travel at once
FOR_TRAINING = ("optimizer", "extra")  # kinds of kept arrays that an evaluation does not read
LAST = 2  # rounds of them that are kept, as a site itself does
SITES = Path("checkpoint") / "sites"  # what stays at the sites, in the run directory

Files = dict[str, bytes]  # below SITES, by path


def versions() -> dict[str, str]:
    """Of what decides the results, to the bit."""
    found = {"heartfed": fl.__version__, "python": platform.python_version()}
    return found | {package: version(package) for package in PACKAGES}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The machine a worker is on."""

    node: str  # Ray's number of it
    address: str
    versions: Mapping[str, str]


class CacheSender:
    """Reads cache folders for machines that have no copy; on the machine that has them."""

    def __init__(self, folders: Iterable[str]) -> None:
        self._folders = {Path(folder).name: Path(folder) for folder in folders}

    def read(self, name: str, file: str, start: int) -> bytes:
        """A piece of a file, empty at its end."""
        with (self._folders[name] / file).open("rb") as there:
            there.seek(start)
            return there.read(PIECE)


class ClusterWorker:
    """A worker that has a run directory of its own, with nothing in it that must last."""

    def __init__(self, client_app: ClientApp, partition: bytes, n_gpus: float) -> None:
        limit_gpu_memory(n_gpus)
        self._app = client_app
        self._folder = Path(tempfile.mkdtemp(prefix="heartfed-"))
        (self._folder / "partition.csv").write_bytes(partition)

    def where(self) -> Machine:
        """The machine this is, and what is installed there."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        address = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        return Machine(node=node, address=address, versions=versions())

    def fetch_folders(self, names: Iterable[str], sender: Any) -> tuple[tuple[str, ...], int]:
        """This machine's own cache folders, and the bytes that were fetched for them."""
        import ray

        def fetch(*piece: Any) -> bytes:
            found: bytes = ray.get(sender.read.remote(*piece))
            return found

        root, fetched = default_cache_dir(), 0
        root.mkdir(parents=True, exist_ok=True)
        for name in names:
            if not is_complete(root / name):
                fetched += _fetch_folder(root / name, fetch)
        return tuple(str(root / name) for name in names), fetched

    def visit(
        self, message: Message, context: Context, shards: tuple[str, ...], files: Files
    ) -> tuple[Message, Context, Files]:
        """The client's reply and its context, and the files it wrote or changed."""
        sites = self._folder / SITES
        shutil.rmtree(sites, ignore_errors=True)
        for path, content in files.items():
            (sites / path).parent.mkdir(parents=True, exist_ok=True)
            (sites / path).write_bytes(content)
        set_local_folders(message, str(self._folder), shards)
        reply = self._app(message, context)
        after = {
            path.relative_to(sites).as_posix(): path.read_bytes()
            for path in sites.rglob("*")
            if path.is_file()
        }
        changed = {path: content for path, content in after.items() if files.get(path) != content}
        return reply, context, changed

    def leave(self) -> None:
        """Leave nothing behind but the cache."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _fetch_folder(path: Path, fetch: Any) -> int:
    """Lay a cache folder down whole or not at all; its bytes."""
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    total = 0
    try:
        for file in (*FILES, "cache.json"):
            with (temporary / file).open("wb") as copy:
                while piece := fetch(path.name, file, copy.tell()):
                    copy.write(piece)
                total += copy.tell()
        if not is_complete(temporary):
            raise DataError(f"{path}: the copy is not what was sent. Run again.")
        shutil.rmtree(path, ignore_errors=True)
        try:
            temporary.rename(path)
        except OSError:
            if not is_complete(path):  # else another run on this machine was faster
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return total
