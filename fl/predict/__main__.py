"""`python -m fl.predict --weights W RECORD...`: predicted classes with their probabilities.

RECORD is a WFDB record (its path without extension, or its .hea file), a file of a hospital's
format (DICOM, HL7 aECG, SCP-ECG, EDF, GE MUSE XML, Philips XML, MFER, ISHNE), a CSV file (a header
of lead names, one line per sample, values in mV unless the headings or --unit say otherwise, and
its sampling rate by a column of times or by --fs), a folder (all recordings below it), a pattern
such as 'wards/*/*.hea', or `-` for names on standard input, one a line. Research software, not a
medical device.

Answers are written as they come, in the order of the recordings. A recording that cannot be read
is named in a line, and the others are answered; Ctrl-C or a full disk keeps what is written.

A table of single heartbeats that were cut out of recordings, one a line, is answered line by line
by a model of the task beat-plain.

Of beats, a summary by the hour follows: heart rate, S and V beats, pauses, and the share of the
time that cannot be said. JSON has it as `summary`; CSV has the beats alone.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from fl.ecg.records import Record
from fl.ecg.tasks import TASKS
from fl.explain.saliency import usual_method
from fl.predict.answerable import without_signal
from fl.predict.explanation import choose, explain_findings, write_answer
from fl.predict.inference import Prepared, predict_prepared, prepare
from fl.predict.input_files import read_record
from fl.predict.output import CsvWriter, JsonLinesWriter, JsonWriter, PredictionWriter, TextWriter
from fl.predict.output_file import Output
from fl.predict.prediction import RecordingPrediction
from fl.predict.recording_flags import DISCLAIMER, add_recording_flags
from fl.predict.recording_list import recordings_named
from fl.predict.recording_pool import PredictionJob, all_answers
from fl.predict.saved_model import SavedModel, load_model
from fl.predict.several import Answer, Reading
from fl.reports.terminal.notices import NOTICE, simulated_note
from fl.util.command_line import CommandParser
from fl.util.errors import DISK_FULL, ConfigError, DataError

WRITERS: dict[str, type[PredictionWriter]] = {
    "text": TextWriter,
    "csv": CsvWriter,
    "json": JsonWriter,
    "jsonl": JsonLinesWriter,
}
FEW = 20  # recordings, for which neither progress nor a count at the end is shown


def main(arguments: Sequence[str] | None = None, prog: str = "python -m fl.predict") -> int:
    """Exit code: 0 done, 2 a user's mistake or a recording that cannot be used, 1 stopped.

    The predictions of all other recordings are written even then.
    """
    options = _parser(prog).parse_args(arguments)
    try:
        model = load_model(options.weights, options.task)
        model.require_source(options.source)
        listed = recordings_named(options.record, options.list)
        if not options.record and not options.list:
            raise ConfigError("name a recording, a folder, a pattern, `-` or --list FILE")
        output = Output(options.out)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(DISCLAIMER, file=sys.stderr)
    if model.synthetic:
        print(f"The model was trained on synthetic recordings. {NOTICE}", file=sys.stderr)
    if model.simulated_rare:
        print(simulated_note(model.simulated_rare), file=sys.stderr)
    for line in [*listed.errors, *filter(None, [listed.left_out()])]:
        print(f"{'error' if line in listed.errors else 'note'}: {line}", file=sys.stderr)
    with output:
        return _answer_all(model, listed.names, output, options, prog) or 2 * bool(listed.errors)


def _answer_all(
    model: SavedModel,
    names: Sequence[str],
    output: Output,
    options: argparse.Namespace,
    prog: str,
) -> int:
    """Write the answer to every recording that can be used; the exit code."""
    writer = WRITERS[options.format](model, options.source)
    counts = {"answered": 0, "cannot say": 0, "not read": 0}
    remarks = _Remarks(at_once=len(names) <= FEW)
    console = Console(stderr=True)
    stopped = ""
    try:
        with _progress(console, len(names)) as progress:
            bar = progress.add_task("recordings", total=len(names))
            for answers in _answers(model, names, options):
                output.write(writer.some([a.prediction for a in answers if a.prediction]))
                for answer in answers:
                    _report(answer, counts, remarks)
                progress.advance(bar, len(answers))
    except KeyboardInterrupt:
        stopped = "interrupted"
    except BrokenPipeError:
        return output.closed_by_reader()
    except OSError as error:
        stopped = _not_written(error)
    remarks.print_kept()
    try:
        output.write(writer.end())
    except BrokenPipeError:
        return output.closed_by_reader()
    except OSError as error:
        stopped = stopped or _not_written(error)
    if stopped:
        done = sum(counts.values())
        print(
            f"{prog}: stopped after {done:,} of {len(names):,} recordings, whose answers are "
            f"written: {stopped}.",
            file=sys.stderr,
        )
    elif len(names) > FEW:
        found = ", ".join(f"{n:,} {kind}" for kind, n in counts.items())
        print(f"{len(names):,} recordings: {found}", file=sys.stderr)
    return 1 if stopped else 2 * bool(counts["not read"])


def _not_written(error: OSError) -> str:
    """Why answers cannot be written; a network drive that is gone is no full disk."""
    step = "make room, and run again" if error.errno in DISK_FULL else "run again"
    return f"{error.strerror or type(error).__name__}; {step} for the others"


def _progress(console: Console, n: int) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=n <= FEW or not console.is_terminal,
    )


@dataclass(kw_only=True)
class _Remarks:
    """What is to be known of recordings beside their answers: once for each kind of remark.

    Of a few recordings warnings are printed `at_once`, beside their answers.
    """

    at_once: bool
    kept: dict[str, tuple[str, int]] = field(default_factory=dict)  # remark -> first, number

    def add(self, kind: str, name: str, text: str) -> None:
        """One remark of a kind, `note` or `warning`, about a recording."""
        if self.at_once and kind == "warning":
            print(f"{kind}: {name}: {text}", file=sys.stderr)
            return
        first, number = self.kept.get(f"{kind}: {text}", (name, 0))
        self.kept[f"{kind}: {text}"] = first, number + 1

    def print_kept(self) -> None:
        """A line for each remark, with the first recording and how many more there are."""
        for remark, (first, number) in self.kept.items():
            kind, _, text = remark.partition(": ")
            more = f" and {number - 1:,} more" if number > 1 else ""
            print(f"{kind}: {first}{more}: {text}", file=sys.stderr)


def _report(answer: Answer, counts: dict[str, int], remarks: _Remarks) -> None:
    """Count an answer, and note what its line does not show."""
    for note in answer.notes:
        remarks.add("note", answer.name, note)
    if answer.prediction is None:
        counts["not read"] += 1
        print(f"error: {answer.error}", file=sys.stderr)
        return
    counts["cannot say" if answer.prediction.cannot_say else "answered"] += 1
    if found := answer.prediction.not_answered:
        classes, leads = " and ".join(found), ", ".join(answer.prediction.leads)
        text = f"{classes} are not answered from lead {leads} alone"
        remarks.add("warning", answer.name, text)


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = CommandParser(
        prog=prog,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "record",
        nargs="*",
        help="WFDB record, file of a hospital's format, CSV file, folder, pattern, or - (names on "
        "stdin)",
    )
    add_recording_flags(parser)
    parser.add_argument(
        "--list",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a text file that names one recording, folder or pattern a line",
    )
    parser.add_argument(
        "--task", choices=sorted(TASKS), default="", help="accept only a model for this task"
    )
    parser.add_argument(
        "--windows",
        action="store_true",
        help="rhythm, infarction: predict 10 s windows of short recordings too",
    )
    parser.add_argument(
        "--explain",
        type=Path,
        metavar="DIR",
        help="also write figures of where the model looked into this folder, as "
        "python -m fl.explain does without --class",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write into this new file instead of printing"
    )
    parser.add_argument(
        "--workers",
        type=_positive,
        default=0,
        help="processes that read and answer [one for each core, for many recordings]",
    )
    form = parser.add_mutually_exclusive_group()
    for name, title in (("json", "JSON"), ("jsonl", "JSON lines"), ("csv", "CSV")):
        form.add_argument(
            f"--{name}", dest="format", action="store_const", const=name, help=f"print {title}"
        )
    parser.set_defaults(format="text")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of processes")
    return value


def _answers(
    model: SavedModel, names: Sequence[str], options: argparse.Namespace
) -> Iterator[list[Answer]]:
    """The answers to all recordings, in their order, some at a time."""
    if options.explain is not None:
        yield from ([_explained(model, name, options)] for name in names)
        return
    reading = Reading(source=options.source, windows=options.windows, detector=options.detector)
    job = PredictionJob(
        weights=options.weights,
        task=options.task,
        fs=options.fs,
        unit=options.unit,
        leads=options.leads,
        ignore_checksums=options.ignore_checksums,
        reading=reading,
    )
    yield from all_answers(job, model, names, options.workers)


def _explained(model: SavedModel, name: str, options: argparse.Namespace) -> Answer:
    """The answer to one recording, whose figures are written."""
    try:
        record = read_record(
            name,
            options.fs,
            options.unit,
            options.leads,
            options.ignore_checksums,
            single_beats=True,
        )
        prepared = prepare(model, record, options.windows, options.detector)
        prediction = predict_prepared(model, record, name, prepared, options.source)
        _write_figures(model, record, prepared, prediction, options)
    except (ConfigError, DataError) as error:
        found = without_signal(name, error)
        return Answer(name=name, prediction=found, error="" if found else str(error))
    return Answer(name=name, prediction=prediction, notes=record.notes)


def _write_figures(
    model: SavedModel,
    record: Record,
    prepared: Prepared,
    prediction: RecordingPrediction,
    options: argparse.Namespace,
) -> None:
    """Figures of where the model looked; none for a recording that is not answered."""
    places = range(len(prediction.findings))
    chosen = choose(model, prediction, places, "", options.source)
    for answer in explain_findings(
        model, record, prepared, prediction, chosen, usual_method(model.network), options.source
    ):
        unit = "NU" if options.unit == "NU" else "mV"
        for path in write_answer(answer, record, options.explain, "--explain", unit=unit):
            print(f"written: {path}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
