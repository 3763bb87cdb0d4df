"""Results of benchmarks kept on disk, the command that made them, and their tables in docs."""

import json
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import psutil

from benchmarks.common.countdown import Countdown
from fl.util.atomic_io import write_atomically

# Options whose values are paths of one machine: left out of the command in the documents.
FOLDER_OPTIONS = (
    *("--weights", "--data-dir", "--cache-dir", "--json", "--results", "--work", "--out", "--runs"),
    "--peer",
)


class StoredResults:
    """Results in a JSON file, by name; a result that is in the file is not measured again.

    `stamp` is written beside the results. Results made with other `stamp["settings"]` are dropped.
    """

    def __init__(self, path: Path, stamp: Mapping[str, Any]) -> None:
        self.path = path
        self._countdown: Countdown | None = None
        self.content: dict[str, Any] = {**stamp, "results": {}}
        if path.exists():
            stored = json.loads(path.read_text())
            if stored["settings"] == stamp["settings"]:
                self.content["results"] = stored["results"]
            else:
                print(f"{path}: made with other settings; starting again.")

    def expect(self, names: Iterable[str]) -> None:
        """The results that the study will ask for: from now on, the time left is printed."""
        self._countdown = Countdown(len(set(names) - self.content["results"].keys()))

    def get_or_make(self, name: str, make: Callable[[], Any]) -> Any:
        """The result of this name; it is made and written if it is not in the file."""
        results = self.content["results"]
        if name not in results:
            began = time.monotonic()
            results[name] = make()
            text = f"{name}: {time.monotonic() - began:.0f} s"
            if self._countdown is None:
                print(text, flush=True)
            else:
                self._countdown.done(text)
            self.write()
        return results[name]

    def write(self) -> None:
        """Write all results; an interrupted write leaves the old file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, json.dumps(self.content).encode())


def machine_description(device: str) -> str:
    """The machine that makes the results, e.g. `Linux x86_64, 2 cores, cpu`."""
    return f"{platform.system()} {platform.machine()}, {psutil.cpu_count()} cores, {device}"


def command(module: str, data: bool = True) -> str:
    """The command that was given, e.g. of `speed.train`, without the folders of this machine."""
    words = iter(sys.argv[1:])
    kept = [f"python -m benchmarks.{module}", *(["--data-dir DATA"] if data else [])]
    for word in words:
        if word in FOLDER_OPTIONS:
            next(words, None)
        else:
            kept.append(shlex.quote(word))
    return " ".join(kept)


def put_between_marks(path: Path, name: str, text: str) -> None:
    """Replace the text between `<!-- name -->` and `<!-- /name -->`, or add it at the end."""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    old = path.read_text() if path.exists() else "# Results\n"
    if start not in old:
        old = f"{old.rstrip()}\n\n{start}\n{end}\n"
    before, rest = old.split(start, 1)
    after = rest.split(end, 1)[1]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, f"{before}{start}\n{text.strip()}\n{end}{after}".encode())
