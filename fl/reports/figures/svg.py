"""Figures inside a page: matplotlib figures as inline SVG, readable with any colour vision."""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

P = ParamSpec("P")
R = TypeVar("R")

# A colour means one thing on a page. Trainings: black, brown and colours of Okabe & Ito 2008;
# classes: the nine "muted" colours of Tol 2021 (personal.sron.nl/~pault), made for lines and areas
# and every kind of colour vision; whatever is neither (splits, right and wrong): greys.
POOLED_INK, LOCAL_INK = "#000000", "#8C510A"
FEDERATED_INKS = ("#0072B2", "#D55E00", "#56B4E9", "#E69F00", "#CC79A7", "#009E73")
CLASS_INKS = (
    "#332288",
    "#88CCEE",
    "#117733",
    "#DDCC77",
    "#CC6677",
    "#44AA99",
    "#882255",
    "#999933",
    "#AA4499",
)
LIGHT = {"#88CCEE", "#DDCC77", "#44AA99", "#999933", "#CC6677"}  # black text is readable on them
GREYS = ("#4D4D4D", "#969696", "#D0D0D0")
REFERENCE = "#999999"  # chance, treat all, treat none
FIXED_INKS = {"local": LOCAL_INK, "pooled": POOLED_INK, "pooled-personal": GREYS[0]}
FIXED_MARKS = {"local": "v", "pooled": "D", "pooled-personal": "d"}
MARKS = ("o", "s", "^", "P", "X", "<", ">")

WIDTH = 3.75  # inches: 360 CSS pixels, so that a phone shows a figure at its own size
FONTS = "system-ui, 'DejaVu Sans', Arial, sans-serif"
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "heartfed",  # no random ids: the same run gives the same page
    "svg.fonttype": "none",  # text stays text: found by a search, read by a screen reader
    "text.parse_math": False,
    "font.size": 8.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.0,
    "path.simplify_threshold": 0.3,
}


@dataclass(frozen=True)
class Drawing:
    """A figure as SVG, and its caption."""

    svg: Markup
    caption: str


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Decorator: all of the function, saving included, runs in the pages' matplotlib style.

    Matplotlib reads some of the style when it saves a figure, not when it makes it.
    """

    @wraps(draw)
    def within(*args: P.args, **options: P.kwargs) -> R:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **options)

    return within


def canvas(height: float, width: float = WIDTH) -> tuple[Figure, Axes]:
    """An empty figure of `height` inches with one set of axes; within `styled` functions."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def training_ink(name: str, order: Sequence[str]) -> str:
    """The colour of a training, the same in every figure of a page whose trainings are `order`."""
    if name in FIXED_INKS:
        return FIXED_INKS[name]
    return FEDERATED_INKS[_rank(name, order) % len(FEDERATED_INKS)]


def training_mark(name: str, order: Sequence[str]) -> str:
    """The mark of a training, for readers and printers without colours."""
    if name in FIXED_MARKS:
        return FIXED_MARKS[name]
    return MARKS[_rank(name, order) % len(MARKS)]


def _rank(name: str, order: Sequence[str]) -> int:
    return [other for other in order if other not in FIXED_INKS].index(name)


def class_ink(number: int) -> str:
    """Colour of the n-th class."""
    return CLASS_INKS[number % len(CLASS_INKS)]


def inline(figure: Figure, name: str, caption: str) -> Drawing:
    """The figure as SVG for an HTML page; no other figure of the page may have this `name`."""
    out = io.StringIO()
    # The layout is found here and once. To save a figure that has yet to find it, Matplotlib draws
    # it twice.
    FigureCanvasSVG(figure)
    if layout := figure.get_layout_engine():
        layout.execute(figure)
        figure.set_layout_engine(None)
    no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(out, format="svg", metadata=no_metadata)
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r" d=\"[^\"]*\"", _rounded, text)
    text = re.sub(r"font: ([^;\"]*?px) [^;\"]*", rf"font: \1 {FONTS}", text)
    text = _unique_ids(text, name)
    label = escape(caption.split(". ")[0])
    return Drawing(
        Markup(text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)), caption
    )


def _rounded(path: re.Match[str]) -> str:
    """Coordinates rounded to a hundredth of a point, finer than any screen or printer."""
    return re.sub(r"-?\d+\.\d{3,}", lambda m: f"{float(m[0]):.2f}", path[0])


def _unique_ids(text: str, name: str) -> str:
    """Ids that something refers to get the figure's name as a prefix; the others are removed."""
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", text))
    text = re.sub(
        r" id=\"([^\"]*)\"", lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", text
    )
    return re.sub(r"(url\(#|href=\"#)", rf"\g<1>{name}-", text)


def legend_above(figure: Figure, axes: Axes) -> None:
    """A legend above the axes, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        longest = max(map(len, labels))
        columns = 5 if longest < 6 else 4 if longest < 9 else 3
        figure.legend(
            handles,
            labels,
            loc="outside upper left",
            ncols=columns,
            frameon=False,
            fontsize=7,
            handlelength=1.4,
            columnspacing=1.0,
        )


@dataclass(frozen=True)
class Swatch:
    """One entry of a page's legend."""

    kind: str  # `training` or `class`
    name: str
    colour: str


def legend(trainings: Sequence[str], classes: Sequence[str]) -> list[Swatch]:
    """What each colour of a page means."""
    found = [Swatch("training", name, training_ink(name, trainings)) for name in trainings]
    return [*found, *(Swatch("class", name, class_ink(i)) for i, name in enumerate(classes))]
