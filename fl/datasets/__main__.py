"""`python -m fl.datasets check | convert | download | plot | synthetic`: recordings, data sets."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from fl.config.run_config import choices_of
from fl.datasets import DATASETS
from fl.datasets.base import Source, ignoring_checksums
from fl.datasets.physionet.downloader import Downloader, DownloadError
from fl.datasets.physionet.remotes import BASE_URL, known_remote
from fl.datasets.readers.exports.conversion.command import add_conversion_flags
from fl.datasets.readers.exports.conversion.command import run as convert_files
from fl.util.command_line import CommandParser
from fl.util.errors import ConfigError, DataError, UnusableRecord


def main(arguments: Sequence[str] | None = None, prog: str = "python -m fl.datasets") -> int:
    """Exit code: 0 done, 2 a user's mistake, 1 a failed download, 130 interrupted.

    `check` ends with 2 if one of its sources cannot be read; the others are checked all the same.
    """
    options = _parser(prog).parse_args(arguments)
    try:
        commands = {
            "check": _check,
            "convert": _convert,
            "download": _download,
            "plot": _plot,
            "synthetic": _synthetic,
        }
        run = commands[options.command]
        return run(options)
    except (ConfigError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, DownloadError) else 2
    except KeyboardInterrupt:
        print("interrupted: the same command continues from here", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def default_data_dir() -> Path:
    """`$ECG_DATA`, else `./data`."""
    return Path(os.environ.get("ECG_DATA") or "data")


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = CommandParser(prog=prog, description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    check = commands.add_parser("check", help="read every record; list the unusable ones and why")
    check.add_argument(
        "source", nargs="*", help="names, or mysite=FOLDER; default: all data sets that exist"
    )
    check.add_argument(
        "--task",
        choices=choices_of("task"),
        help="also list records that this task cannot use",
    )
    check.add_argument("--json", action="store_true", help="print JSON instead of tables")

    convert = commands.add_parser("convert", help="write hospitals' files as WFDB records")
    add_conversion_flags(convert)

    plot = commands.add_parser("plot", help="draw one record on ECG paper")
    plot.add_argument("source")
    plot.add_argument("record")
    plot.add_argument("--out", type=Path, help="file to write; default: SOURCE-RECORD.png")

    download = commands.add_parser("download", help="fetch data sets from PhysioNet")
    download.add_argument("source", nargs="+")
    download.add_argument("--base-url", default=BASE_URL, help="a mirror of %(default)s")
    download.add_argument("--jobs", type=int, choices=range(1, 17), default=4, metavar="1-16")

    made = commands.add_parser("synthetic", help="write synthetic recordings, to try things with")
    made.add_argument("folder", type=Path, help="a new folder, for --sources NAME=FOLDER")
    made.add_argument("--records", type=int, default=60, help="how many [%(default)s]")
    made.add_argument("--seed", type=int, default=0, help="another seed: other patients")

    for command in (check, plot):
        command.add_argument(
            "--ignore-checksums",
            action="store_true",
            help="also use recordings that do not match the checksums in their headers",
        )
    for command in (check, download, plot):  # a conversion reads nothing from there
        command.add_argument("--data-dir", type=Path, default=default_data_dir())
    return parser


def _source(name: str) -> Source:
    from fl.datasets.own_folder import parse_source

    return DATASETS[name] if name in DATASETS else parse_source(name)


def _check(options: argparse.Namespace) -> int:
    from fl.datasets.data_report import check
    from fl.datasets.source_selection import for_task, has_labels, require_classes
    from fl.ecg.tasks import TASKS

    root: Path = options.data_dir
    stderr = Console(stderr=True)
    sources: list[Source] = []
    mistakes: list[str] = []  # one in a name or a folder does not stop the check of the others
    for name in dict.fromkeys(options.source):
        try:
            source = _source(name)
            require_classes(source.card.name, source, options.task or "")
            sources.append(source)
        except ConfigError as error:
            mistakes.append(str(error))
    if not options.source:
        existing = [s for s in DATASETS.values() if not s.card.synthetic and s.exists(root)]
        sources = [s for s in existing if has_labels(s.card, options.task or "")]
        others = ", ".join(s.card.name for s in existing if s not in sources)
        if others:
            stderr.print(f"Without a class of --task {options.task}, and not read: {others}")
    if options.task:
        sources = [for_task(source, options.task) for source in sources]
    if not sources and not mistakes:
        names = ", ".join(name for name, s in DATASETS.items() if not s.card.synthetic)
        raise DataError(
            f"{root}: no data set found. Expected: a folder named {names}. "
            "`python -m fl.datasets download cpsc2018 mitdb` fetches two of them."
        )
    if options.ignore_checksums:
        sources = [ignoring_checksums(source) for source in sources]
    with Progress(console=stderr, transient=True, disable=not stderr.is_terminal) as bars:
        tasks = {s.card.name: bars.add_task(s.card.name, total=None) for s in sources}
        report = check(
            sources,
            root,
            lambda name, n, total: bars.update(tasks[name], completed=n, total=total),
            TASKS[options.task] if options.task else None,
        )
    if options.json:
        print(report.to_json())
    elif report.sources:
        console = Console()
        for table in report.tables():
            console.print(table)
    mistakes += report.problems.values()
    for mistake in mistakes:
        print(f"error: {mistake}", file=sys.stderr)
    return 2 if mistakes else 0


def _convert(options: argparse.Namespace) -> int:
    return convert_files(options)


def _download(options: argparse.Namespace) -> int:
    names = list(dict.fromkeys(options.source))
    for name in names:
        known_remote(name)  # refuses a wrong name before anything is fetched
    downloader = Downloader(base_url=options.base_url, jobs=options.jobs)
    stderr = Console(stderr=True)
    for name in names:
        card = DATASETS[name].card
        print(f"{card.title}\n  licence: {card.licence}\n  cite: {card.citation}")
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(
            *columns, TimeRemainingColumn(), console=stderr, disable=not stderr.is_terminal
        ) as bars:
            task = bars.add_task(name, total=None)
            counts = downloader.fetch(
                name,
                options.data_dir / name,
                partial(_show_progress, bars, task),
            )
        print(
            f"  {counts.fetched} files fetched, {counts.kept} were already there, "
            f"{counts.replaced} differed from the published ones and were replaced"
        )
    return 0


def _synthetic(options: argparse.Namespace) -> int:
    from fl.datasets.synthetic.written_folder import write_synthetic_folder

    done = write_synthetic_folder(options.folder, options.records, options.seed)
    print(
        f"{options.folder}: {done.records} synthetic recordings of {done.patients} patients who "
        "do not exist"
    )
    return 0


def _show_progress(bars: Progress, task: TaskID, done: int, total: int) -> None:
    bars.update(task, completed=done, total=total)


def _plot(options: argparse.Namespace) -> int:
    paper = importlib.import_module("fl.reports.figures.ecg_paper")  # matplotlib is slow to import
    source, name = _source(options.source), options.record.replace("/", "-")
    if options.ignore_checksums:
        source = ignoring_checksums(source)
    path: Path = options.out or Path(f"{options.source.partition('=')[0]}-{name}.png")
    try:
        record = source.read(options.data_dir, options.record)
    except UnusableRecord as verdict:
        raise DataError(f"{options.source}: {verdict}") from None
    try:
        paper.save(record, path, synthetic=source.card.synthetic, unit=source.card.unit)
    except OSError as error:
        raise ConfigError(f"--out {path}: cannot be written ({error.strerror}).") from None
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
