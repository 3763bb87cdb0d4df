"""Draw the figure of synthetic recordings in docs/data.md: `python docs/make_figures.py`."""

import io
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from fl.datasets.synthetic import SYNTHETIC
from fl.datasets.synthetic.devices import DEVICES
from fl.ecg.labels import RHYTHM_CLASSES, label_vector
from fl.ecg.records import LEADS, Record
from fl.reports.figures import ecg_paper

HERE = Path(__file__).parent
SECONDS = 10.0
PREMATURE = {"PAC": "A", "PVC": "V"}
ACROSS = 3
DPI = 80
COLOURS = 24  # of the PNG's palette: enough for paper and trace


def example(label: str) -> Record:
    """The first record of the device with the least noise that shows this class and no other."""
    quietest = min(DEVICES, key=lambda device: device.noise).name
    wanted = label_vector([label], RHYTHM_CLASSES).tolist()
    for name in SYNTHETIC.record_names(HERE):
        record = SYNTHETIC.read(HERE, name)
        only = record.labels is not None and record.labels.tolist() == wanted
        if only and record.group == quietest and shows(record, PREMATURE.get(label)):
            return record
    raise LookupError(f"no synthetic record of {quietest} shows {label} and no other class")


def shows(record: Record, symbol: str | None) -> bool:
    """Whether at least two beats of the symbol are on the sheet; True if no symbol is asked for."""
    if symbol is None or record.annotations is None:
        return symbol is None
    beats = zip(record.annotations.samples, record.annotations.symbols, strict=True)
    return len([at for at, kind in beats if kind == symbol and at < SECONDS * record.fs]) >= 2


def classes() -> Figure:
    """One sheet of ECG paper per class."""
    strips = ecg_paper.layout(LEADS, SECONDS)
    width, height = ecg_paper.size(strips)
    rows = -(-len(RHYTHM_CLASSES) // ACROSS)
    inches = (ACROSS * width / ecg_paper.INCH, rows * height / ecg_paper.INCH)
    figure = Figure(figsize=inches, dpi=DPI, facecolor="white")
    for i, label in enumerate(RHYTHM_CLASSES):
        row, column = divmod(i, ACROSS)
        box = (column / ACROSS, 1 - (row + 1) / rows, 1 / ACROSS, 1 / rows)
        axes = figure.add_axes(box)
        ecg_paper.sheet(axes, example(label), strips, synthetic=True)
        axes.text(width - 4, height - 3, label, size=14, weight="bold", ha="right", va="top")
    return figure


def write(figure: Figure, path: Path) -> None:
    """Write a PNG with a small palette; an interrupted write leaves the old file."""
    png = io.BytesIO()
    figure.savefig(png, format="png")
    unfinished = path.with_name(f".{path.name}.part")
    image = Image.open(png).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    image.save(unfinished, format="png", optimize=True)
    unfinished.replace(path)


if __name__ == "__main__":
    write(classes(), HERE / "synthetic-classes.png")
