"""The web application: pages for uploads, the monitor and runs, behind one guard."""

from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from heartfed.web import monitor_pages, run_pages, upload_pages
from heartfed.web.guard import Guard
from heartfed.web.pages import sorry
from heartfed.web.settings import Settings
from heartfed.web.upload.kept import KeptAnswers

STATIC = Path(__file__).with_name("static")
WORDS = {
    404: ("No such page", "Choose one of the pages above."),
    405: ("Not possible here", "Choose one of the pages above."),
}


def application(settings: Settings) -> Starlette:
    """The application; `routes` of each part gives its pages."""
    kept = KeptAnswers()  # an upload may be replayed on the monitor's page
    return Starlette(
        routes=[
            *upload_pages.routes(settings, kept),
            *monitor_pages.routes(settings, kept),
            *run_pages.routes(settings),
            Mount("/static", StaticFiles(directory=STATIC), name="static"),
        ],
        middleware=[Middleware(Guard, settings=settings)],
        exception_handlers={HTTPException: _in_words},
    )


async def _in_words(request: Request, error: Exception) -> Response:
    """A page in place of a status alone."""
    assert isinstance(error, HTTPException)
    title, text = WORDS.get(error.status_code, ("This did not work", error.detail))
    return sorry(error.status_code, title, text)
