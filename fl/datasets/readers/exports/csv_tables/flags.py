"""Flags for what a table of samples may not say itself."""

import argparse

from fl.datasets.readers.exports.csv_tables.csv_recording import UNITS


def add_table_flags(parser: argparse.ArgumentParser) -> None:
    """--fs, --unit and --leads."""
    parser.add_argument(
        "--fs", type=_rate, help="sampling rate of a CSV file, in Hz [by its column of times]"
    )
    parser.add_argument(
        "--unit",
        choices=sorted(UNITS),
        default="",
        help="unit of a CSV file's values [that of its headings, else mV]; "
        "NU: the recording, of any format, is scaled to its own peak",
    )
    parser.add_argument(
        "--leads",
        type=lambda text: tuple(name.strip() for name in text.split(",")),
        default=(),
        metavar="I,II,V1",
        help="leads of the columns of a CSV file without a header, in their order",
    )


def _rate(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not a sampling rate in Hz")
    return value
