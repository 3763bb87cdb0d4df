"""Draws how a network arranges test examples, coloured by class, by site and by source."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from fl.explain.embedding import NO_CLASS, SEVERAL, Arrangement
from fl.reports.figures.svg import GREYS, MARKS, Drawing, class_ink, inline, styled

SIDE, LEGEND = 3.3, 1.1  # inches: of a panel, and of the legend above it
WRAP = 165  # characters of the caption in a line


@styled
def embedding_chart(found: Arrangement, *, caption_inside: bool = False) -> Drawing:
    """The same points three times: by class, by site, by source.

    Classes have their colours of every page. Sites and sources have others, and marks. A file of
    its own needs `caption_inside`; a page writes the caption below.
    """
    figure = Figure(figsize=(3 * SIDE, SIDE + LEGEND), layout="constrained")
    panels = figure.subplots(1, 3)
    facts = found.facts
    classes = [c for c in (*facts.classes, SEVERAL, NO_CLASS) if c in found.label]
    inks = {c: class_ink(i) for i, c in enumerate(facts.classes)}
    inks |= {SEVERAL: GREYS[0], NO_CLASS: GREYS[2]}
    _panel(panels[0], found, "class", found.label, classes, inks, ["o"])
    for axes, title, values in (
        (panels[1], "site", found.site),
        (panels[2], "source", found.source),
    ):
        names = sorted(set(values), key=lambda text: (len(text), text))
        steps = np.linspace(0.0, 0.92, max(len(names), 2))
        colours = {n: to_hex(colormaps["viridis"](x)) for n, x in zip(names, steps, strict=False)}
        _panel(axes, found, title, values, names, colours, MARKS)
    if caption_inside:
        text = "\n".join(textwrap.wrap(caption(found), WRAP))
        figure.supxlabel(text, x=0.01, ha="left", size=7)
    return inline(figure, "embedding", caption(found))


def _panel(
    axes: Axes,
    found: Arrangement,
    title: str,
    values: Sequence[str],
    names: Sequence[str],
    colours: dict[str, str],
    marks: Sequence[str],
) -> None:
    which = np.array(values)
    for number, text in enumerate(names):
        points = found.position[which == text]
        axes.plot(
            points[:, 0],
            points[:, 1],
            linestyle="none",
            marker=marks[number % len(marks)],
            markersize=2.2,
            markeredgewidth=0,
            color=colours[text],
            alpha=0.75,
            label=f"{text} ({len(points)})",
        )
    axes.set(xlabel="t-SNE 1", ylabel="t-SNE 2", xticks=[], yticks=[])
    axes.set_title(f"by {title}", loc="left", pad=6 + 9.5 * -(-len(names) // 3))
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=3,
        frameon=False,
        fontsize=6,
        handlelength=1.0,
        columnspacing=0.8,
        handletextpad=0.3,
        borderaxespad=0.1,
        markerscale=2.0,
    )


def caption(found: Arrangement) -> str:
    """What the picture is of and how it was made."""
    facts = found.facts
    kind = "SYNTHETIC test" if facts.synthetic else "test"
    text = (
        f"How the network arranges {facts.points} {kind} {facts.unit} of {facts.patients} "
        f"patients ({facts.of} in all; at most {facts.per_patient} of a patient). t-SNE of the "
        f"{facts.width} numbers that its dense layers are given ({facts.model}, "
        f"{facts.strategy}), perplexity {facts.perplexity:g}, seed {facts.seed}. Neighbours are "
        "alike to the network; distances between groups and their sizes mean nothing."
    )
    return f"{text} {facts.note}".strip()
