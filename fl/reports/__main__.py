"""`python -m fl.reports RUN...`: write a run's pages again, or put several runs side by side."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fl.reports.build import seed_folders, write_report, write_site_page
from fl.reports.pages.page_files import INDEX
from fl.reports.pages.seeds_page import runs_page
from fl.reports.run_files import is_repeated, read_run
from fl.util.atomic_io import write_atomically
from fl.util.command_line import CommandParser
from fl.util.errors import ConfigError, DataError


def main(arguments: Sequence[str] | None = None, prog: str = "python -m fl.reports") -> int:
    """Exit code: 0 done, 2 a mistake of the user's."""
    options = _parser(prog).parse_args(arguments)
    try:
        if options.site:
            written = [write_site_page(folder, options.site) for folder in options.run]
        else:
            written = rebuild(options.run, options.out)
        for path in written:
            print(path)
    except (ConfigError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename}: cannot be written ({error.strerror}).", file=sys.stderr)
        return 2
    return 0


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = CommandParser(prog=prog, description=__doc__)
    parser.add_argument("run", nargs="+", type=Path, help="run directories, or a parent of seeds")
    parser.add_argument(
        "--out",
        type=Path,
        help="page that puts several runs side by side [side-by-side.html beside the first run]",
    )
    parser.add_argument(
        "--site",
        default="",
        help="write the page of this hospital alone; of very many not all have one",
    )
    return parser


def rebuild(folders: Sequence[Path], out: Path | None) -> list[Path]:
    """The pages written: each run's index, and the one that compares them."""
    if out is not None and len(folders) < 2:
        raise ConfigError("--out: one run is written into its own folder. Name two runs or more.")
    parts = [part for folder in folders for part in _parts(folder)]
    for folder in [*parts, *(f for f in folders if is_repeated(f))]:
        write_report(folder)
    written = [folder / INDEX for folder in folders]
    if len(folders) > 1:
        out = out or folders[0].resolve().parent / "side-by-side.html"
        if not out.parent.is_dir():
            raise ConfigError(f"--out {out}: {out.parent} is no folder. Name a file in a folder.")
        write_atomically(out, runs_page([read_run(part) for part in parts], out.resolve()).encode())
        written.append(out)
    return written


def _parts(folder: Path) -> list[Path]:
    return seed_folders(folder) if is_repeated(folder) else [folder]


if __name__ == "__main__":
    sys.exit(main())
