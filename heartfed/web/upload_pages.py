"""The pages for uploads: choose a recording, and the models' answer to it."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from heartfed.web.pages import page
from heartfed.web.settings import Settings


def routes(settings: Settings) -> list[BaseRoute]:
    """What is served under / and /answer."""

    async def form(request: Request) -> Response:
        return page("upload.html", here="/", settings=settings, title="Upload a recording")

    return [Route("/", form)]
