"""What the page of one run shows, section by section, from its directory as it is now."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fl.evaluation.strategy_names import strategy_name
from fl.reports.number_format import time_left_text
from fl.runs.overview import PLACES, RunOverview
from fl.runs.run_progress import RunProgress, TrainingSoFar, read_progress
from fl.runs.run_state import COMPLETED, CONTINUABLE, RUNNING
from heartfed.web.pages import environment
from heartfed.web.runs.catalog import Catalog
from heartfed.web.runs.charts import charts_of
from heartfed.web.runs.words import LONGEST_SETTING, score_text, setting_text

# Parts of the page that change while a run goes on: templates/runs/section_<name>.html.
SECTIONS = ("progress", "results", "curves", "sites", "failures", "rounds")
MOST_ROWS = 200  # of one training's table of rounds, the newest
MOST_SITES = 500
MOST_TRAININGS = 20
MOST_FAILURES = 200


def run_address(name: str, part: str = "") -> str:
    """The page of a run, or of one of its seeds or folds."""
    return f"/runs/{quote(name, safe='')}" + (f"?part={quote(part, safe='')}" if part else "")


def view_of(catalog: Catalog, name: str, part: str = "") -> dict[str, Any] | None:
    """The values of the page's templates; None if there is no such run."""
    folder = catalog.find(name, part)
    if folder is None:
        return None
    progress = read_progress(folder)
    leaf = progress.leaf
    shown = leaf.trainings[:MOST_TRAININGS]
    overview = catalog.overview(folder)
    return {
        "name": name,
        "part": part,
        "progress": progress,
        "leaf": leaf,
        "leaf_name": str(leaf.folder.relative_to(folder)) if leaf is not progress else "",
        "overview": overview,
        "state": progress.state,
        "headline": status_line(progress),
        "left": time_left_of(progress),
        "ended": ended_text(progress, overview),
        "can_continue": progress.state in CONTINUABLE,
        "completed": progress.state == COMPLETED,
        "trainings": shown,
        "going": _going(leaf),
        "not_shown": len(leaf.trainings) - len(shown),
        "charts": charts_of(shown, leaf.rounds),
        "failures": progress.failures[:MOST_FAILURES],
        "more_failures": max(len(progress.failures) - MOST_FAILURES, 0),
        "results": [*_results(overview)],
        "places": PLACES,
        "pages": list(report_pages(catalog, name, folder, part)),
        "parts": [
            {
                "name": p.name,
                "state": p.state,
                "address": run_address(name, f"{part}/{p.name}".strip("/")),
            }
            for p in progress.parts
        ],
        "settings": [*settings_of(progress.config)],
        "most_rows": MOST_ROWS,
        "most_sites": MOST_SITES,
    }


def sections_of(view: Mapping[str, Any]) -> dict[str, str]:
    """The changing parts of the page as HTML."""
    templates = environment()
    return {
        name: templates.get_template(f"runs/section_{name}.html").render(view) for name in SECTIONS
    }


def status_line(progress: RunProgress) -> str:
    """`running: FedAvg, round 3 of 20`; what a screen reader announces when it changes."""
    leaf = progress.leaf
    words = [progress.state]
    if progress.state == RUNNING and leaf.stage != "training":
        words.append(leaf.stage)
    elif leaf.trainings and progress.state != COMPLETED:
        words.append(", ".join(map(_round_text, _going(leaf))))
    if progress.parts:
        done = sum(part.state == COMPLETED for part in progress.parts)
        words.append(f"{done} of {len(progress.parts)} parts completed")
    return ": ".join(filter(None, [words[0], "; ".join(words[1:])]))


def _going(leaf: RunProgress) -> tuple[TrainingSoFar, ...]:
    """The trainings in progress: the last one, or local and pooled training together."""
    unfinished = [t for t in leaf.trainings if t.round < leaf.rounds]
    return tuple(unfinished[:2] or leaf.trainings[-1:])


def _round_text(training: TrainingSoFar) -> str:
    return f"{strategy_name(training.strategy)} round {training.round}"


def time_left_of(progress: RunProgress) -> str:
    """How long the rounds will still take, in words; "" where that is not known."""
    if progress.state != RUNNING or progress.left is None or progress.left.seconds == 0:
        return ""
    patience = progress.leaf.config.get("patience")
    text = time_left_text(progress.left.seconds, isinstance(patience, int) and patience > 0)
    return f"{text} until the last round; tests and pages come after it"


def ended_text(progress: RunProgress, overview: RunOverview) -> str:
    """Why a run ended, or what of it cannot be read; "" for one that is well."""
    damaged = (
        f"{progress.damaged} cells or lines of rounds.csv and sites.csv cannot be read."
        if progress.damaged
        else ""
    )
    return " ".join(filter(None, dict.fromkeys([overview.error, *progress.problems, damaged])))


def _results(overview: RunOverview) -> Iterator[tuple[str, list[str]]]:
    """Every training with its macro-F1 at each place."""
    for strategy, scores in overview.scores.items():
        yield strategy, [score_text(scores.get(place)) for place in PLACES]


def settings_of(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every setting and its value, cut short."""
    for name, value in list(config.items())[:200]:
        yield str(name)[:LONGEST_SETTING], setting_text(value)


def report_pages(catalog: Catalog, name: str, folder: Path, part: str) -> Iterator[tuple[str, str]]:
    """Address and name of every page of a completed run's report."""
    within = f"{part}/report" if part else "report"
    sites = sorted((folder / "report" / "sites").glob("*.html"))[:MOST_SITES]
    for path, title in (
        ("index.html", "The whole federation"),
        *((f"sites/{site.name}", site.stem) for site in sites),
    ):
        if catalog.report_file(name, f"{within}/{path}") is not None:
            yield f"/runs/{quote(name, safe='')}/files/{quote(f'{within}/{path}')}", title
