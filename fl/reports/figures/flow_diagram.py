"""The flow of records and patients as boxes and arrows, after CONSORT and STARD, as inline SVG."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from fl.reports.figures.svg import FONTS, Drawing
from fl.reports.pages.participants import FlowStep

WIDTH, MAIN, ASIDE, ASIDE_X = 780, 400, 330, 440  # CSS pixels
LINE, PAD, GAP = 16, 8, 26
INDENT = 30  # of a branch
LETTERS, BOLD_LETTERS = 52, 50  # of a line in a box
CAPTION = (
    "Flow of records and patients, from those found to those tested on. Boxes at the right: who "
    "was left out, and why. Patients are counted once a record could be read."
)


@dataclass(frozen=True)
class Box:
    """A box and its lines, the first in bold."""

    x: int
    y: int
    width: int
    lines: tuple[str, ...]

    @property
    def height(self) -> int:
        return 2 * PAD + LINE * len(self.lines)


def flow_diagram(steps: Sequence[FlowStep]) -> Drawing | None:
    """The diagram; None without any step."""
    if not steps:
        return None
    boxes = list(_boxes(steps))
    height = max(box.y + box.height for box, _ in boxes) + 2
    parts = [part for box, aside in boxes for part in _drawn(box, aside)]
    parts += list(_arrows(steps, [box for box, _ in boxes]))
    svg = (
        f'<svg role="img" aria-label="Flow of records and patients" width="{WIDTH}" '
        f'height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="{escape(FONTS)}" '
        f'font-size="12">{"".join(parts)}</svg>'
    )
    return Drawing(Markup(svg), CAPTION)


def _boxes(steps: Sequence[FlowStep]) -> Iterator[tuple[Box, Box | None]]:
    """Each step's box below the one before, and the box beside it."""
    y = 1
    for step in steps:
        indent = INDENT if step.branch else 0
        box = Box(1 + indent, y, MAIN - indent, _wrapped(step.title, step.lines))
        aside = None
        if step.aside_title:
            aside = Box(ASIDE_X, y, ASIDE, _wrapped(step.aside_title, step.aside))
        yield box, aside
        y += max(box.height, aside.height if aside else 0) + GAP


def _wrapped(title: str, lines: Sequence[str]) -> tuple[str, ...]:
    rest = [part for line in lines for part in textwrap.wrap(line, LETTERS)]
    return (textwrap.shorten(title, BOLD_LETTERS, placeholder="..."), *rest)


def _drawn(box: Box, aside: Box | None) -> Iterator[str]:
    yield _box(box)
    if aside:
        y = box.y + min(box.height, aside.height) // 2
        yield _line(box.x + box.width, y, aside.x, y)
        yield _box(aside)


def _box(box: Box) -> str:
    texts = []
    for i, line in enumerate(box.lines):
        weight = ' font-weight="600"' if i == 0 else ""
        y = box.y + PAD + LINE * i + 12
        texts.append(f'<text x="{box.x + PAD}" y="{y}"{weight}>{escape(line)}</text>')
    return (
        f'<rect x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" fill="none" '
        f'stroke="#595959"/>{"".join(texts)}'
    )


def _arrows(steps: Sequence[FlowStep], boxes: Sequence[Box]) -> Iterator[str]:
    """From each box to the next; from the last one before the branches to each branch."""
    trunk = boxes[0]
    for step, box in zip(steps[1:], boxes[1:], strict=True):
        if step.branch:
            x, y = trunk.x + INDENT // 2, box.y + box.height // 2
            yield _path(f"M{x} {trunk.y + trunk.height}V{y}")
            yield _line(x, y, box.x, y)
        else:
            x = trunk.x + trunk.width // 2
            yield _line(x, trunk.y + trunk.height, x, box.y)
            trunk = box


def _line(x1: int, y1: int, x2: int, y2: int) -> str:
    """A line with an arrow's head at its end."""
    head = (
        f"M{x2 - 4} {y2 - 6}L{x2} {y2}L{x2 + 4} {y2 - 6}"
        if x1 == x2
        else f"M{x2 - 6} {y2 - 4}L{x2} {y2}L{x2 - 6} {y2 + 4}"
    )
    return _path(f"M{x1} {y1}L{x2} {y2}{head}")


def _path(d: str) -> str:
    return f'<path d="{d}" fill="none" stroke="#595959"/>'
