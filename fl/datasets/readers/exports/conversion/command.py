"""`data convert FILES... --out FOLDER`: its flags, and what it prints."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from fl.datasets.readers.exports.conversion.conversion import convert
from fl.datasets.readers.exports.csv_tables.csv_recording import TABLES, read_csv
from fl.datasets.readers.exports.csv_tables.flags import add_table_flags
from fl.datasets.readers.exports.formats.content import kind_of
from fl.datasets.readers.exports.formats.discovery import hospital_files
from fl.datasets.readers.exports.formats.recording import Recording
from fl.ecg.records import NO_UNIT
from fl.util.errors import ConfigError, DataError


def add_conversion_flags(parser: argparse.ArgumentParser) -> None:
    """The files, the folder to write, and what a table does not say of itself."""
    parser.add_argument(
        "file",
        nargs="+",
        type=Path,
        help="files of hospitals' formats, folders of them, or tables of samples (.csv)",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the WFDB records")
    add_table_flags(parser)


def run(options: argparse.Namespace) -> int:
    """Exit code: 0 if every file was converted, 2 if one was not or nothing could be."""
    if options.unit == NO_UNIT:
        raise ConfigError("--unit NU: WFDB records are written in mV. Give the unit of the values.")

    def read_table(path: Path, name: str) -> Recording | None:
        is_table = path.suffix.lower() in TABLES and path.is_file() and kind_of(path) is None
        return read_csv(path, options.fs, options.unit, options.leads) if is_table else None

    summary = convert(
        list(_files(options.file)),
        options.out,
        read_table,
        lambda line: print(f"error: {line}", file=sys.stderr),
    )
    for sentence in summary.sentences(options.out):
        print(sentence)
    return 2 if summary.failed else 0


def _files(given: Sequence[Path]) -> Iterator[Path]:
    """The files that were named, and those of hospitals' formats in folders that were."""
    for path in given:
        if not path.is_dir():
            yield path
            continue
        found = [file for files in hospital_files(path).values() for file in files]
        if not found:
            raise DataError(
                f"{path}: no file of a hospital's format is in it. Name tables of samples one by "
                "one; WFDB records need no conversion."
            )
        others = sum(file.is_file() for file in path.rglob("*")) - len(found)
        if others:
            print(f"{path}: {others} other files are not read", file=sys.stderr)
        yield from sorted(found)
