"""Draw docs/architecture.svg: the rooms of the code and what imports what.

    python docs/make_architecture.py          # writes the picture
    python docs/make_architecture.py --check  # fails if the picture is not that of the code

A box is a folder. An arrow from one box to another means that a file of the first imports a file
of the second; an arrow that follows from others is left out. Arrows point down only.
"""

import argparse
import ast
import io
import sys
from collections.abc import Mapping
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "architecture.svg"
# From the top down; a room imports from rooms below it. Each with the middle of its box, in inches
# from the left.
ROWS = (
    {"heartfed": 4.3},
    {"run_sim": 6.0},
    {"server/deploy": 2.6, "server/experiment": 6.0},
    {"server/app": 4.3, "clients/deploy": 10.0},
    {"server/baselines": 4.3},
    {"server/rounds": 4.3, "clients": 10.0},
    {"server/engines": 2.6, "server/aggregation": 6.0},
    {"partitions": 8.0},
    {"fl/monitor": 2.2},
    {"fl/predict": 3.4},
    {"fl/reports": 4.6},
    {"fl/explain": 6.6},
    {"fl/runs": 3.0},
    {"fl/messages": 9.4},
    {"fl/privacy": 9.4},
    {"fl/evaluation": 4.2, "fl/training": 7.8},
    {"fl/models": 7.8},
    {"fl/data": 6.0},
    {"fl/datasets": 6.0},
    {"fl/config": 6.0},
    {"fl/ecg": 6.0},
    {"fl/util": 6.0},
)
TOGETHER = {"clients/app": "clients/deploy"}  # the app and the process that runs it at a hospital
NAMES = {"clients/deploy": "clients/app, clients/deploy"}
COLOURS = {"fl": "#56B4E9", "partitions": "#F0E442", "clients": "#009E73", "server": "#E69F00"}
PAGE, WIDTH, HEIGHT, GAP = 12.4, 2.5, 0.42, 0.36  # inches

Graph = dict[str, set[str]]


def room_of(module: str) -> str | None:
    """The room that a module lies in: `fl.ecg.labels` -> `fl/ecg`; None if it is no room's."""
    parts = module.split(".")
    rooms = {room for row in ROWS for room in row}
    for length in (2, 1):
        name = "/".join(parts[:length])
        name = TOGETHER.get(name, name)
        if name in rooms:
            return name
    return None


def imports() -> Graph:
    """Which rooms each room imports, read from the code without running it."""
    graph: Graph = {room: set() for row in ROWS for room in row}
    packages = ("fl", "partitions", "clients", "server", "heartfed")
    files = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    for path in [*files, ROOT / "run_sim.py"]:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        room = room_of(module)
        # A room's command joins rooms, as run_sim.py does: its imports are not the room's.
        if room is None or (room.startswith("fl/") and path.name == "__main__.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            graph[room] |= {found for name in names if (found := room_of(name))}
    return {room: needed - {room} for room, needed in graph.items()}


def reduced(graph: Graph) -> Graph:
    """The graph without the arrows that follow from others."""

    def reachable(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(graph[start])
        while waiting:
            room = waiting.pop()
            if room not in seen:
                seen.add(room)
                waiting += graph[room]
        return seen

    beyond = {room: reachable(room) for room in graph}
    return {
        room: {to for to in needed if not any(to in beyond[other] for other in needed - {to})}
        for room, needed in graph.items()
    }


def picture() -> bytes:
    """The picture as SVG; the same code gives the same bytes."""
    graph = imports()
    places = _places()
    upwards = [
        f"{room} -> {to}"
        for room, needed in graph.items()
        for to in needed
        if places[to][1] >= places[room][1]
    ]
    if upwards:
        raise SystemExit(f"arrows that do not point down: {', '.join(sorted(upwards))}")
    figure = Figure(figsize=(PAGE, len(ROWS) * (HEIGHT + GAP) + 0.4))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, PAGE), ylim=(0, len(ROWS) * (HEIGHT + GAP) + 0.4))
    axes.axis("off")
    for room, needed in sorted(reduced(graph).items()):
        for to in sorted(needed):
            _arrow(axes, places[room], places[to])
    for room, place in places.items():
        _box(axes, room, place)
    out = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "heartfed", "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def _places() -> Mapping[str, tuple[float, float]]:
    """The middle of each box, in inches."""
    places: dict[str, tuple[float, float]] = {}
    for number, row in enumerate(ROWS):
        y = (len(ROWS) - number - 0.5) * (HEIGHT + GAP) + 0.2
        places |= {room: (x, y) for room, x in row.items()}
    return places


def _box(axes: Axes, room: str, place: tuple[float, float]) -> None:
    x, y = place
    colour = COLOURS.get(room.split("/")[0], "#DDDDDD")
    axes.add_patch(
        FancyBboxPatch(
            (x - WIDTH / 2, y - HEIGHT / 2),
            WIDTH,
            HEIGHT,
            boxstyle="round,pad=0,rounding_size=0.08",
            facecolor=colour,
            edgecolor="black",
            linewidth=0.8,
            zorder=2,
        )
    )
    axes.text(x, y, NAMES.get(room, room), ha="center", va="center", fontsize=10, zorder=3)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """From the lower edge of a box to the upper edge of another, past the boxes between them."""
    steps = round((start[1] - end[1]) / (HEIGHT + GAP))
    length = ((start[0] - end[0]) ** 2 + (start[1] - end[1]) ** 2) ** 0.5
    sideways = (WIDTH / 2 + 0.3) * min(steps - 1, 2) / 2
    bend = 2 * sideways / length
    left = (start[0] + end[0]) / 2 < PAGE / 2
    axes.add_patch(
        FancyArrowPatch(
            (start[0], start[1] - HEIGHT / 2),
            (end[0], end[1] + HEIGHT / 2),
            arrowstyle="-|>",
            mutation_scale=10,
            connectionstyle=f"arc3,rad={-bend if not left else bend}",
            color="#555555",
            linewidth=0.9,
            zorder=1,
        )
    )


def main() -> int:
    """Write the picture, or check that it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    options = parser.parse_args()
    made = picture()
    if options.check:
        if PICTURE.read_bytes() != made:
            print(f"{PICTURE}: not that of the code. Run: python docs/make_architecture.py")
            return 1
        return 0
    PICTURE.write_bytes(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
