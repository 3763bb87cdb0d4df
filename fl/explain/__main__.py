"""`python -m fl.explain RECORD --weights W`: where a model looked in a recording.

RECORD is a WFDB record or a CSV file, as `python -m fl.predict` takes it. A figure on ECG paper
(SVG and PNG) and a JSON file with all numbers are written for each class that is predicted: of a
long recording, for the 10 s window or the heartbeat in which its probability is highest. Research
software, not a medical device.

`python -m fl.explain embed RUN` draws how a run's model arranges its test examples.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fl.ecg.records import Record
from fl.ecg.rhythm.windows import WINDOW_SECONDS
from fl.explain.embedding import MOST_POINTS, PERPLEXITY, POINTS, SEED
from fl.explain.saliency import METHODS, check_question, usual_method
from fl.predict.explanation import ExplainedAnswer, choose, explain_findings, write_answer
from fl.predict.inference import Prepared, predict_prepared, prepare
from fl.predict.input_files import read_record
from fl.predict.recording_flags import DISCLAIMER, add_recording_flags
from fl.predict.saved_model import SavedModel, load_model
from fl.reports.arrangement import arrange_run
from fl.reports.number_format import number
from fl.reports.pages.page_files import INDEX, write_index
from fl.reports.run_files import read_run
from fl.reports.terminal.notices import NOTICE
from fl.util.command_line import CommandParser
from fl.util.errors import ConfigError, DataError

EMBED = "embed"


def main(arguments: Sequence[str] | None = None, prog: str = "python -m fl.explain") -> int:
    """Exit code: 0 done, 2 a user's mistake or a recording that cannot be used."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    embedding = given[:1] == [EMBED]
    parser = _embed_parser(f"{prog} {EMBED}") if embedding else _parser(prog)
    options = parser.parse_args(given[embedding:])
    try:
        return _embed(options) if embedding else _explain(options)
    except (ConfigError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = CommandParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("record", help="WFDB record or CSV file")
    add_recording_flags(parser)
    parser.add_argument(
        "--class",
        dest="target",
        default="",
        metavar="CLASS",
        help="the class to explain [each that is predicted, else the one nearest to its threshold]",
    )
    parser.add_argument(
        "--method",
        choices=METHODS,
        default="",
        help="integrated gradients; occlusion: what changes where the signal is taken away; "
        "attention: the network's own time weights, if it has any [gradients; occlusion for a "
        "network of pictures]",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--beat", type=int, metavar="SAMPLE", help="beat: explain the beat nearest to this sample"
    )
    where.add_argument(
        "--from",
        dest="begin",
        type=float,
        metavar="SECONDS",
        help="explain only what begins here or later; rhythm: in 10 s windows from here on",
    )
    parser.add_argument(
        "--to",
        dest="end",
        type=float,
        metavar="SECONDS",
        help="and ends here or earlier [--from + 10]",
    )
    parser.add_argument("--out", type=Path, default=Path("explain"), help="folder [%(default)s]")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    return parser


def _embed_parser(prog: str) -> argparse.ArgumentParser:
    parser = CommandParser(
        prog=prog,
        description="Draw how a run's network arranges its test examples: t-SNE of what its dense "
        "layers are given, by class, by site and by source. Writes report/embedding.svg, .csv and "
        ".json into the run directory and puts the picture on report/index.html.",
    )
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument(
        "--points",
        type=int,
        default=POINTS,
        help=f"most examples, at most {MOST_POINTS}; as many of each patient [%(default)s]",
    )
    parser.add_argument(
        "--perplexity",
        type=float,
        help="about how many neighbours an example has "
        f"[{PERPLEXITY:g}, or a third of the examples]",
    )
    parser.add_argument("--seed", type=int, default=SEED, help="of sample and t-SNE [%(default)s]")
    return parser


def _embed(options: argparse.Namespace) -> int:
    for path in arrange_run(options.run, options.points, options.perplexity, options.seed):
        print(path)
    write_index(read_run(options.run))
    print(options.run / INDEX)
    return 0


def _explain(options: argparse.Namespace) -> int:
    model = load_model(options.weights)
    model.require_source(options.source)
    options.method = options.method or usual_method(model.network)
    if options.target:
        check_question(model.network, model.task, options.target, options.method)
    check_question(model.network, model.task, model.task.classes[0], options.method)
    _check_place(options, model)
    record = read_record(
        options.record,
        options.fs,
        options.unit,
        options.leads,
        options.ignore_checksums,
        single_beats=True,
    )
    starts = None if model.task.exclusive else _window_starts(options, record)
    prepared = prepare(model, record, windows=False, detector=options.detector, starts=starts)
    prediction = predict_prepared(model, record, options.record, prepared, options.source)
    places = _places(options, record, prepared)
    chosen = choose(model, prediction, places, options.target, options.source)
    print(DISCLAIMER, file=sys.stderr)
    if model.synthetic:
        print(f"The model was trained on synthetic recordings. {NOTICE}", file=sys.stderr)
    if not chosen:
        reason = prediction.findings[places[0]].cannot_say
        print(f"{options.record}: cannot say: {reason}. There is nothing to explain.")
        return 0
    answers = explain_findings(
        model, record, prepared, prediction, chosen, options.method, options.source
    )
    unit = "NU" if options.unit == "NU" else "mV"
    files = [write_answer(answer, record, options.out, "--out", unit=unit) for answer in answers]
    if options.json:
        print(json.dumps([answer.to_json() for answer in answers], indent=1))
    else:
        for answer, paths in zip(answers, files, strict=True):
            print(_line(answer, paths))
    return 0


def _check_place(options: argparse.Namespace, model: SavedModel) -> None:
    """`ConfigError` unless --beat, --from and --to have a meaning."""
    if options.beat is not None and not model.task.exclusive:
        raise ConfigError(
            f"--beat is for models of heartbeats; this model is for the {model.task.name} task. "
            "Use --from and --to."
        )
    if options.end is not None and options.begin is None:
        raise ConfigError("--to needs --from: the part of the recording between both is explained.")
    if options.begin is not None and options.end is not None and options.end <= options.begin:
        raise ConfigError(
            f"--from is {options.begin:g} and --to {options.end:g}. Give a --to after --from."
        )


def _window_starts(options: argparse.Namespace, record: Record) -> list[float] | None:
    """The starts of the 10 s windows between --from and --to; None without --from."""
    if options.begin is None:
        return None
    duration = record.signal.shape[1] / record.fs
    end = options.begin + WINDOW_SECONDS if options.end is None else options.end
    last = min(end, duration) - WINDOW_SECONDS
    starts = np.arange(options.begin, last + 1e-6, WINDOW_SECONDS).tolist()
    if options.begin < 0 or not starts:
        raise ConfigError(
            f"--from {options.begin:g} --to {end:g}: no 10 s of {record.name}, which has "
            f"{duration:.1f} s, lie between them. Name a part of at least 10 s."
        )
    return [float(start) for start in starts]


def _places(options: argparse.Namespace, record: Record, prepared: Prepared) -> list[int]:
    """The numbers of the findings that are asked for."""
    first = 1 if prepared.without_example else 0  # findings without an example: see `prepare`
    return [first + place for place in _examples(options, record, prepared)]


def _examples(options: argparse.Namespace, record: Record, prepared: Prepared) -> list[int]:
    """The numbers of the examples that are asked for."""
    every = list(range(len(prepared.ranges)))
    if prepared.peaks is None:
        return every
    if options.beat is not None:
        if not 0 <= options.beat < record.signal.shape[1]:
            raise ConfigError(
                f"--beat is {options.beat}. {record.name} has the samples 0 to "
                f"{record.signal.shape[1] - 1}."
            )
        return [int(np.abs(prepared.peaks - options.beat).argmin())]
    if options.begin is None:
        return every
    end = options.begin + WINDOW_SECONDS if options.end is None else options.end
    times = prepared.peaks / record.fs
    inside = [i for i in every if options.begin <= times[i] <= end]
    if not inside:
        raise ConfigError(
            f"--from {options.begin:g} --to {end:g}: no heartbeat of {record.name} lies between "
            "them. Name a longer part."
        )
    return inside


def _line(answer: ExplainedAnswer, paths: Sequence[Path]) -> str:
    """One answer and its files."""
    where = f"{answer.start:.1f} to {answer.end:.1f} s"
    if answer.peak is not None:
        where = f"beat at sample {answer.peak}"
    named = ", ".join(path.name for path in paths)
    return (
        f"{answer.record}  {where}  {answer.explanation.target} {number(answer.p)}"
        f"{'' if answer.predicted else ' (not predicted)'}  {paths[0].parent}: {named}"
    )


if __name__ == "__main__":
    sys.exit(main())
