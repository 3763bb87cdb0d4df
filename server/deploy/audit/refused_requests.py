"""How many requests the reverse proxy refused, in the audit log once an hour.

A line for each would let a stranger fill the disk.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from server.deploy.audit.federation_log import note
from server.deploy.federation_store import FederationFolder

HOUR = 3600.0  # seconds between lines


class RefusedRequests:
    """Counts refused requests by reason, until they are noted."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def count(self, reason: str) -> None:
        """One more request is refused."""
        self._counts[reason] += 1

    def note(self, folder: FederationFolder) -> None:
        """Add a line with what was counted since the last one, if anything was."""
        counts, self._counts = self._counts, Counter()
        if counts:
            note(folder, "requests-refused", counts=dict(sorted(counts.items())))

    @asynccontextmanager
    async def noted_hourly(self, folder: FederationFolder) -> AsyncIterator[None]:
        """Note once an hour what was counted, and at the end."""
        hourly = asyncio.create_task(self._hourly(folder))
        try:
            yield
        finally:
            hourly.cancel()
            self.note(folder)

    async def _hourly(self, folder: FederationFolder) -> None:
        while True:
            await asyncio.sleep(HOUR)
            # Another process may hold the log for a moment; sites are served meanwhile.
            await asyncio.to_thread(self.note, folder)
