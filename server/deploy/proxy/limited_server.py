"""The server of the reverse proxy: uvicorn, with limits of what a connection may cost.

With an untested version of uvicorn it has the limits that uvicorn documents: so many connections
in all, and so many seconds without a request. Limits of a body are the proxy's own, and hold with
any version.
"""

from typing import Any

import uvicorn
from starlette.applications import Starlette

from fl.util.tested_versions import is_tested
from server.deploy.proxy import connection_internals

HEAD_BYTES = 32 * 2**10  # of a head; Flower's has about 1,500
IDLE_SECONDS = 5  # of a connection that had its answer


def limited_server(app: Starlette, **settings: Any) -> uvicorn.Server:
    """A server for the proxy; `settings` are those of `uvicorn.Config`."""
    both: dict[str, Any] = {
        "h11_max_incomplete_event_size": HEAD_BYTES,
        "timeout_keep_alive": IDLE_SECONDS,
        "ws": "none",
    }
    if limits_each_connection():
        kind = connection_internals.LimitedConnection
        config = uvicorn.Config(app, http=kind, **both, **settings)
        return connection_internals.LimitedServer(config)
    # uvicorn counts the connection that asks among those there are.
    most = connection_internals.MOST + 1
    return uvicorn.Server(
        uvicorn.Config(app, http="h11", limit_concurrency=most, **both, **settings)
    )


def limits_each_connection() -> bool:
    """Whether this version of uvicorn was tested: its connections can be timed and counted."""
    otherwise = (
        "half a request and an answer that nobody takes keep their connection, half a TLS "
        f"handshake keeps it for 60 s, and beyond {connection_internals.MOST} connections, of "
        "whatever addresses, requests are answered by 503"
    )
    return is_tested("uvicorn", connection_internals.UVICORN_VERSIONS, otherwise)
