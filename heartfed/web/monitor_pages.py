"""The pages under /monitor."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from heartfed.web.pages import sorry
from heartfed.web.settings import Settings


def routes(settings: Settings) -> list[BaseRoute]:
    """What is served under /monitor."""

    async def nothing_yet(request: Request) -> Response:
        return sorry(404, "Monitor", "There is nothing here yet.", here="/monitor")

    return [Route("/monitor", nothing_yet)]
