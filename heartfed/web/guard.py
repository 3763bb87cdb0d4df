"""What every request passes: who asks, from where, and what the answer may do in a browser.

A page of any other site can send requests to an application on this machine. So the Host header
must name this machine (DNS rebinding), and whatever changes something must come from our own pages.
"""

import ipaddress
import sys
import traceback
from http.cookies import SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from heartfed.web.pages import sorry
from heartfed.web.settings import Settings

POLICY = "; ".join(
    [
        "default-src 'none'",
        *("script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'"),
        *("form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"),
    ]
)
# An answer that brings its own Content-Security-Policy (the pages of runs, whose styles are inline)
# keeps it.
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}
SAFE = ("GET", "HEAD")
SESSION = "heartfed_session"


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no page uses web sockets
        begun = False

        async def with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self._refusal(scope) or self._token(scope)
        if answer is not None:
            await answer(scope, receive, with_headers)
            return
        try:
            await self.app(scope, receive, with_headers)
        except Exception as error:
            # Only where it happened: the text of an error could hold what a file says of a patient.
            where = traceback.extract_tb(error.__traceback__)[-1]
            kind = type(error).__name__
            print(f"bug: {kind} in {where.filename}:{where.lineno}", file=sys.stderr, flush=True)
            if not begun:
                text = f"HeartFed has a bug here ({kind}). The terminal names its place; report it."
                await sorry(500, "This went wrong", text)(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        """Why a request is not answered at all."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_ours(host):
            text = "The address names another machine. Open the address that the terminal shows."
            return sorry(421, "Not this machine", text)
        if scope["method"] not in SAFE and not _is_same_origin(headers, host):
            text = (
                "The request came from another site's page. Open this application and send again."
            )
            return sorry(403, "Not from here", text)
        return None

    def _is_ours(self, host: str) -> bool:
        """Whether a Host header names this machine: by address, or by one of its names.

        Rebinding needs a name: an address in the Host header is where the browser connected to.
        """
        name = _host_name(host)
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in ("localhost", *self.settings.host_names)
        return address.is_loopback or self.settings.beyond_loopback

    def _token(self, scope: Scope) -> Response | None:
        """Where a token is needed: exchange it for a session, or ask for it."""
        token = self.settings.token
        if token is None:
            return None
        cookie = SimpleCookie(Headers(scope=scope).get("cookie", "")).get(SESSION)
        if cookie is not None and token.knows(cookie.value):
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        session = token.exchange(given) if given else None
        if session is None:
            text = "Open the address that the terminal shows, with its token; each is used once."
            return sorry(403, "A token is needed", text)
        if self.settings.token_used is not None:
            self.settings.token_used(token.value)
        answer = RedirectResponse(scope["path"], 303)
        answer.set_cookie(SESSION, session, httponly=True, samesite="strict")
        return answer


def _host_name(host: str) -> str:
    """The name or address in a Host header, without the port: `[::1]:8765` -> `::1`."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower().rstrip(".")


def _is_same_origin(headers: Headers, host: str) -> bool:
    """Whether a page of this application sent the request, or no browser did."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == host
