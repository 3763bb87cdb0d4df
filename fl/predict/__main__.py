"""`python -m fl.predict --weights W RECORD...`: predicted classes with their probabilities.

RECORD is a WFDB record (its path without extension, or its .hea file), a file of a hospital's
format (DICOM, HL7 aECG, SCP-ECG, EDF, GE MUSE XML, Philips XML, MFER, ISHNE), or a CSV file: a
header of lead names, one line per sample, values in mV unless the headings or --unit say otherwise,
and its sampling rate by a column of times or by --fs. Research software, not a medical device.

Of beats, a summary by the hour follows: heart rate, S and V beats, pauses, and the share of the
time that cannot be said. JSON has it as `summary`; CSV has the beats alone.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fl.ecg.records import Record
from fl.ecg.tasks import TASKS
from fl.explain.saliency import usual_method
from fl.predict.answerable import without_signal
from fl.predict.explanation import choose, explain_findings, write_answer
from fl.predict.inference import Prepared, predict_prepared, prepare
from fl.predict.input_files import read_record
from fl.predict.output import as_csv, as_json, as_text
from fl.predict.prediction import RecordingPrediction
from fl.predict.recording_flags import DISCLAIMER, add_recording_flags
from fl.predict.saved_model import SavedModel, load_model
from fl.reports.terminal.notices import NOTICE, simulated_note
from fl.util.command_line import CommandParser
from fl.util.errors import ConfigError, DataError


def main(arguments: Sequence[str] | None = None, prog: str = "python -m fl.predict") -> int:
    """Exit code: 0 done, 2 a user's mistake or a recording that cannot be used.

    The predictions of all other recordings are printed even then.
    """
    options = _parser(prog).parse_args(arguments)
    try:
        model = load_model(options.weights, options.task)
        model.require_source(options.source)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(DISCLAIMER, file=sys.stderr)
    if model.synthetic:
        print(f"The model was trained on synthetic recordings. {NOTICE}", file=sys.stderr)
    if model.simulated_rare:
        print(simulated_note(model.simulated_rare), file=sys.stderr)
    predictions, failures = _predict_all(model, options)
    if predictions:
        print(_formatted(model, predictions, options))
    return 2 if failures else 0


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = CommandParser(
        prog=prog,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "record", nargs="+", help="WFDB record, file of a hospital's format, or CSV file"
    )
    add_recording_flags(parser)
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
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print JSON")
    output.add_argument("--csv", action="store_true", help="print CSV")
    return parser


def _predict_all(
    model: SavedModel, options: argparse.Namespace
) -> tuple[list[RecordingPrediction], int]:
    """The predictions of every recording that can be used, and how many cannot."""
    predictions, failures = [], 0
    for text in options.record:
        try:
            record = read_record(text, options.fs, options.unit, options.leads)
            prepared = prepare(model, record, options.windows, options.detector)
            predictions.append(predict_prepared(model, record, text, prepared, options.source))
            _warn(predictions[-1])
            if options.explain is not None:
                _write_figures(model, record, prepared, predictions[-1], options)
        except (ConfigError, DataError) as error:
            answer = without_signal(text, error)
            if answer is not None:
                predictions.append(answer)
                continue
            print(f"error: {error}", file=sys.stderr)
            failures += 1
    return predictions, failures


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


def _warn(prediction: RecordingPrediction) -> None:
    """One line on classes that the recording's leads cannot show."""
    if prediction.not_answered:
        classes, leads = " and ".join(prediction.not_answered), ", ".join(prediction.leads)
        print(
            f"warning: {prediction.record}: {classes} are not answered from lead {leads} alone",
            file=sys.stderr,
        )


def _formatted(
    model: SavedModel, predictions: Sequence[RecordingPrediction], options: argparse.Namespace
) -> str:
    if options.json:
        return as_json(model, predictions, options.source)
    if options.csv:
        return as_csv(model, predictions)
    return as_text(model, predictions, options.source)


if __name__ == "__main__":
    sys.exit(main())
