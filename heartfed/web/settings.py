"""What the web application serves, and to whom."""

import secrets
import threading
from dataclasses import dataclass, field
from pathlib import Path

from fl.evaluation.decisions.thresholds import POOLED_SOURCE
from fl.predict.saved_model import SavedModel

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model that answers recordings, under the name by which pages show it."""

    name: str
    path: Path  # of its weights
    model: SavedModel


class OneTimeToken:
    """A token that opens the pages to one browser, and is replaced when it is used."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: set[str] = set()
        self.value = secrets.token_urlsafe(24)

    def exchange(self, given: str) -> str | None:
        """A session for the right token, which is then used up; None for any other."""
        with self._lock:
            if not secrets.compare_digest(given.encode(), self.value.encode()):
                return None
            self.value = secrets.token_urlsafe(24)
            session = secrets.token_urlsafe(24)
            self._sessions.add(session)
            return session

    def knows(self, session: str) -> bool:
        """Whether a session was begun with a token."""
        with self._lock:
            return session in self._sessions


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The models and run directories of the application, and its limits.

    `closing` is set when the server is asked to end; answers that go on for long (server-sent
    events) look at it and return.
    """

    models: tuple[ServedModel, ...] = ()
    runs: Path = Path("runs")  # parent of run directories
    run: Path | None = None  # the run directory named on the command line
    recordings: Path | None = None  # folder of recordings that the monitor may replay
    source: str = POOLED_SOURCE  # whose calibration and thresholds
    most_upload: int = 32 * MIB  # bytes
    host_names: frozenset[str] = frozenset()  # accepted in a Host header besides addresses
    beyond_loopback: bool = False  # whether other machines reach it
    token: OneTimeToken | None = None  # None: no token is asked for
    token_used: "TokenUsed | None" = None  # called after a token was used, with the next
    closing: threading.Event = field(default_factory=threading.Event)


class TokenUsed:
    """Prints the address with the next token, for another browser."""

    def __init__(self, address: str) -> None:
        self.address = address

    def __call__(self, token: str) -> None:
        print(
            f"The address was used. For another browser: {self.address}?token={token}", flush=True
        )
