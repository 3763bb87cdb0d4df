"""What a run needs beside its settings: where it is written and what it shows."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The flags of a run that change no result."""

    out: Path = Path("runs")  # parent of the run directory
    name: str = ""  # of the run directory; "": date and time
    resume: Path | None = None  # run directory to continue
    cache_dir: Path | None = None  # None: the default
    quiet: bool = False
    pages: bool = True
    tensorboard: bool = False
    dry_run: bool = False
