"""Command lines whose mistakes are answered in one line."""

import argparse
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from fl.util.errors import did_you_mean

FLAG = re.compile(r"^ *(?:-\w, )?(--[a-z][a-z0-9-]*)", re.MULTILINE)  # where help explains one


class CommandParser(argparse.ArgumentParser):
    """A parser that answers a mistake in one line with the nearest known flag, and exits with 2.

    argparse prints the whole usage first: for a run that is 27 lines before the mistake itself.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # An abbreviation that is clear today may mean two flags tomorrow.
        super().__init__(*args, **{"allow_abbrev": False} | kwargs)

    def error(self, message: str) -> NoReturn:
        """Print the mistake and where help is found; exit code 2."""
        sentence = message if message.endswith((".", "?")) else f"{message}."
        self.exit(2, f"{self.prog}: error: {sentence} Help: {self.prog} --help\n")

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse does it, but an argument that is not known is a mistake here already.

        A command below this one knows its own flags; the parser above it does not.
        """
        options, unknown = super().parse_known_args(args, namespace)
        if unknown:
            flags = FLAG.findall(self.format_help())
            guess = did_you_mean(unknown[0].partition("=")[0], flags)
            self.error(f"unknown argument {unknown[0]}.{guess}")
        return options, unknown


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """While this lasts, SIGTERM ends the program as Ctrl-C does, so that it can tell how to go on.

    Only the main thread receives signals; in another one this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
