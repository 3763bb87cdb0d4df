"""What the benchmarks share: results kept on disk, the command that made them, tables in docs."""

import json
import platform
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from fl.util.atomic_io import write_atomically

# Options that name places of one machine: left out when the command is written down.
PLACES = ("--data-dir", "--cache-dir", "--json", "--results", "--work", "--out")


class StoredResults:
    """Results on disk by name; a name that is there is not done again."""

    def __init__(self, path: Path, stamp: Mapping[str, Any]) -> None:
        self.path = path
        self.content: dict[str, Any] = {**stamp, "results": {}}
        if path.exists():
            found = json.loads(path.read_text())
            if found["settings"] == stamp["settings"]:
                self.content["results"] = found["results"]
            else:
                print(f"{path}: made with other settings; starting anew.")

    def of(self, name: str, make: Callable[[], Any]) -> Any:
        """The result of this name, made and written if it is not there."""
        results = self.content["results"]
        if name not in results:
            began = time.monotonic()
            results[name] = make()
            print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
            self.write()
        return results[name]

    def write(self) -> None:
        """Write all results, whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, json.dumps(self.content).encode())


def machine(device: str) -> str:
    """Where results were made."""
    return f"{platform.system()} {platform.machine()}, {psutil.cpu_count()} cores, {device}"


def command(script: str, data: bool = True) -> str:
    """The command that was given, without the folders of this machine."""
    words = iter(sys.argv[1:])
    kept = [f"python benchmarks/{script}", *(["--data-dir DATA"] if data else [])]
    for word in words:
        if word in PLACES:
            next(words, None)
        else:
            kept.append(word)
    return " ".join(kept)


def put_between_marks(path: Path, name: str, text: str) -> None:
    """Replace what stands between `<!-- name -->` and `<!-- /name -->`, or add it at the end."""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    old = path.read_text() if path.exists() else "# Results\n"
    if start not in old:
        old = f"{old.rstrip()}\n\n{start}\n{end}\n"
    before, rest = old.split(start, 1)
    after = rest.split(end, 1)[1]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, f"{before}{start}\n{text.strip()}\n{end}{after}".encode())
