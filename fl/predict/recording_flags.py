"""Flags of every command that applies a model to recordings."""

import argparse
from pathlib import Path

from fl.datasets.readers.exports.csv_tables.flags import add_table_flags
from fl.ecg.qrs_detection import DETECTORS, LONG_DETECTOR, SHORT_DETECTOR, SHORT_SECONDS
from fl.evaluation.decisions.thresholds import POOLED_SOURCE

DISCLAIMER = "Research software, not a medical device: no result may guide the care of a patient."


def add_recording_flags(parser: argparse.ArgumentParser) -> None:
    """The model, and how recordings are read: --weights, --source, --detector, those of tables."""
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
    add_table_flags(parser)
    parser.add_argument(
        "--ignore-checksums",
        action="store_true",
        help="read recordings whose signal differs from the checksum in its file",
    )
    parser.add_argument(
        "--detector",
        choices=sorted(DETECTORS),
        default="",
        help="beat: find the beats with this detector, even if they are annotated "
        f"[the annotations if there are any, else {SHORT_DETECTOR}, or {LONG_DETECTOR} from "
        f"{SHORT_SECONDS:g} s on]",
    )
