"""Flags of every command that applies a model to recordings."""

import argparse
from pathlib import Path

from fl.ecg.qrs_detection import DETECTORS
from fl.evaluation.decisions.thresholds import POOLED_SOURCE
from fl.predict.input_files import UNITS

DISCLAIMER = "Research software, not a medical device: no result may guide the care of a patient."


def add_recording_flags(parser: argparse.ArgumentParser) -> None:
    """The model, and how recordings are read: --weights, --source, --fs, --unit, --detector."""
    parser.add_argument(
        "--weights",
        type=Path,
        required=True,
        help="file of a trained model, e.g. runs/NAME/weights/fedavg-best.safetensors",
    )
    parser.add_argument(
        "--source",
        default=POOLED_SOURCE,
        help="use the calibration and thresholds of this source [%(default)s]",
    )
    parser.add_argument("--fs", type=_rate, help="sampling rate of a CSV file, in Hz")
    parser.add_argument(
        "--unit",
        choices=sorted(UNITS),
        default="mV",
        help="unit of a CSV file's values [%(default)s]; "
        "NU: the recording, CSV or WFDB, is scaled to its own peak",
    )
    parser.add_argument(
        "--detector",
        choices=sorted(DETECTORS),
        default="",
        help="beat: find the beats with this detector, even if they are annotated "
        "[the annotations if there are any, else xqrs]",
    )


def _rate(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not a sampling rate in Hz")
    return value
