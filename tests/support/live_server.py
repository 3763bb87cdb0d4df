"""The web application on a port of its own, for tests in a browser."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from heartfed.web.serve import Server, address_of, listening
from heartfed.web.settings import Settings


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """The address of the application while this lasts."""
    with listening("127.0.0.1", 0) as bound:
        server = Server(settings)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        try:
            yield address_of(bound).rstrip("/")
        finally:
            settings.closing.set()
            server.should_exit = True
            thread.join(timeout=30)
