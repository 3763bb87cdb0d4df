"""The pages under /runs: all runs, one run as it goes, several side by side, and their reports."""

import re
from collections import Counter
from collections.abc import Callable
from functools import partial

from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from fl.runs.overview import RunOverview
from fl.runs.run_state import RUNNING
from heartfed.web.pages import page, sorry
from heartfed.web.runs.catalog import Catalog
from heartfed.web.runs.comparison import MOST_COMPARED, comparison_of
from heartfed.web.runs.events import Listeners, events
from heartfed.web.runs.view import SECTIONS, run_address, view_of
from heartfed.web.runs.words import score_text
from heartfed.web.settings import Settings

HERE = "/runs"
PER_PAGE = 200  # runs of the list
# A report is one file with its styles in it, and has no script. Whatever a damaged one holds, it
# runs nothing and asks for nothing.
REPORT_POLICY = "; ".join(
    [
        "default-src 'none'",
        *("style-src 'unsafe-inline'", "img-src data:", "font-src data:"),
        *("form-action 'none'", "base-uri 'none'", "frame-ancestors 'none'"),
        "sandbox allow-same-origin",
    ]
)
# Columns of the list by which it can be sorted, and what sorts it.
SORTS: dict[str, tuple[str, Callable[[RunOverview], tuple[object, ...]]]] = {
    "name": ("run", lambda run: (run.folder.name.casefold(),)),
    "status": ("status", lambda run: (run.status,)),
    "f1": ("central macro-F1", lambda run: (run.headline.value if run.headline else -1.0,)),
    "task": ("task", lambda run: (run.task,)),
    "started": ("started (UTC)", lambda run: (run.started,)),
}


def routes(settings: Settings) -> list[BaseRoute]:
    """What is served under /runs and /compare."""
    catalog, listeners = Catalog(settings), Listeners()

    def listed(request: Request) -> Response:
        return _list(catalog, request)

    def run(request: Request) -> Response:
        name, part = request.path_params["name"], request.query_params.get("part", "")
        view = view_of(catalog, name, part)
        if view is None:
            return _no_run()
        title = f"Run {name}" + (f", {part}" if part else "")
        return page("runs/run.html", here=HERE, title=title, sections=SECTIONS, **view)

    async def live(request: Request) -> Response:
        name, part = request.path_params["name"], request.query_params.get("part", "")
        folder = catalog.find(name, part)
        if folder is None:
            return _no_run()
        view = partial(view_of, catalog, name, part)
        return StreamingResponse(
            events(request, folder, view, settings.closing, listeners),
            media_type="text/event-stream",
        )

    def report(request: Request) -> Response:
        file = catalog.report_file(request.path_params["name"], request.path_params["path"])
        if file is None:
            return sorry(404, "No such page", "The run has no such page.", here=HERE)
        return FileResponse(
            file, media_type="text/html", headers={"content-security-policy": REPORT_POLICY}
        )

    def compared(request: Request) -> Response:
        return _compare(catalog, request)

    return [
        Route("/runs", listed),
        Route("/compare", compared),
        Route("/runs/{name}", run),
        Route("/runs/{name}/events", live),
        Route("/runs/{name}/files/{path:path}", report),
    ]


def _no_run() -> Response:
    text = "There is no such run. It may have been renamed or deleted; choose one of the list."
    return sorry(404, "No such run", text, here=HERE)


def _list(catalog: Catalog, request: Request) -> Response:
    """All runs, sorted and filtered as the address asks."""
    listing, asked = catalog.listing(), request.query_params
    sort = asked.get("sort", "started")
    sort = sort if sort in SORTS else "started"
    backwards = asked.get("order", "down" if sort in ("started", "f1") else "up") == "down"
    text, status, task = (asked.get(name, "") for name in ("text", "status", "task"))
    chosen = [
        run
        for run in listing.runs
        if text.casefold() in f"{run.folder.name} {' '.join(run.strategies)}".casefold()
        and status in ("", run.status)
        and task in ("", run.task)
    ]
    chosen.sort(key=SORTS[sort][1], reverse=backwards)
    last = max((len(chosen) - 1) // PER_PAGE, 0) + 1
    given = asked.get("page", "1")
    wanted = int(given) if re.fullmatch(r"[1-9][0-9]{0,5}", given) else 1
    number = min(wanted, last)
    return page(
        "runs/list.html",
        here=HERE,
        title="Runs",
        folder=str(catalog.folder),
        listing=listing,
        counts=sorted(Counter(run.status for run in listing.runs).items()),
        synthetic=sum(bool(run.synthetic) for run in listing.runs),
        chosen=len(chosen),
        rows=[_row(run) for run in chosen[(number - 1) * PER_PAGE : number * PER_PAGE]],
        statuses=sorted({run.status for run in listing.runs}),
        tasks=sorted({run.task for run in listing.runs if run.task}),
        asked={"text": text, "status": status, "task": task, "sort": sort},
        order="down" if backwards else "up",
        sorts=[(key, title) for key, (title, _) in SORTS.items()],
        number=number,
        last=last,
        most=MOST_COMPARED,
    )


def _row(run: RunOverview) -> dict[str, object]:
    return {
        "name": run.folder.name,
        "address": run_address(run.folder.name),
        "run": run,
        "score": score_text(run.headline),
        "going": run.status == RUNNING,
    }


def _compare(catalog: Catalog, request: Request) -> Response:
    """The runs that the address names, side by side."""
    names = list(dict.fromkeys(request.query_params.getlist("run")))
    if not 2 <= len(names) <= MOST_COMPARED:
        text = f"Choose from 2 to {MOST_COMPARED} runs in the list, then Compare."
        return sorry(400, "Compare runs", text, here=HERE)
    folders = [catalog.find(name) for name in names]
    if None in folders:
        return _no_run()
    runs = [(f.name, catalog.overview(f)) for f in folders if f is not None]
    return page(
        "runs/compare.html",
        here=HERE,
        title="Runs side by side",
        runs=[(name, run, run_address(name)) for name, run in runs],
        synthetic=any(run.synthetic for _, run in runs),
        **comparison_of(runs),
    )
