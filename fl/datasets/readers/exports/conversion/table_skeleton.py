"""The beginning of a table of labels: records and pseudonyms; a person fills in the labels."""

import csv
from collections.abc import Sequence
from pathlib import Path

from fl.util.errors import ConfigError

TABLE = "labels.csv"
COLUMNS = ("record", "patient", "labels", "annotated", "age", "sex")


def existing_rows(folder: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and lines of a table that is there already, to which lines are added."""
    path = folder / TABLE
    if not path.exists():
        return list(COLUMNS), []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns, rows = list(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error):
        raise ConfigError(f"{path}: cannot be read as a table. Save it as UTF-8 CSV.") from None
    if not {"record", "patient"} <= set(columns):
        raise ConfigError(
            f"{path}: has no columns record and patient, separated by commas, to which lines could "
            "be added. Use a new folder for --out."
        )
    return columns, rows


def write_row(folder: Path, columns: Sequence[str], row: dict[str, str]) -> None:
    """Add a line at once, so that what is written is complete when a conversion is stopped."""
    path = folder / TABLE
    content = path.read_bytes() if path.exists() else b""
    with path.open("a", encoding="utf-8", newline="") as file:
        if content and not content.endswith(b"\n"):
            file.write("\n")
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        if not content:
            writer.writeheader()
        writer.writerow(row)
