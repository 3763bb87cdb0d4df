"""Progress of a run on the terminal: a live view, or plain lines for pipes and log files."""

import math
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from fl.config.run_config import LOCAL, POOLED
from fl.reports.number_format import number, time_left_text
from fl.reports.shown_sites import MOST
from fl.runs.history_tables import RoundRow
from fl.runs.remaining_time import Remaining

NEWEST = 10  # sites that the live view of very many shows: those that answered last
ESTIMATE = 1.0  # seconds after which the live view estimates the time left again


class PlainView:
    """One line per round, and one per failure: for pipes and log files."""

    def __init__(
        self, console: Console, quiet: bool = False, remaining: Remaining | None = None
    ) -> None:
        self.console, self.quiet, self.rounds = console, quiet, 0
        self.many = False  # so many sites that they have no lines of their own
        self.remaining = remaining  # None: the time left is not shown

    def training(self, strategy: str, rounds: int, sites: Sequence[Any]) -> None:
        self.rounds, self.many = rounds, self.many or len(sites) > MOST
        if not self.quiet:
            self.console.print(f"{strategy}: {rounds} rounds; {_sizes(sites)}")

    def site(self, round_number: int, site: str, doing: str, note: str) -> None:
        if doing == "failed":
            self.console.print(f"round {round_number}: {site} is left out: {note}")
        elif doing in ("clipped", "joined"):
            self.console.print(f"round {round_number}: {site}: {note}")

    def round(self, row: RoundRow) -> None:
        if self.remaining:
            self.remaining.add(row)
        if not self.quiet:
            name = "pooled, " if row.strategy == POOLED else ""
            what = f"round {row.round:>3}/{self.rounds}"
            if row.averaged:
                what = f"mean of the last {row.averaged} rounds"
            left = f"  {text}" if (text := self.left) else ""
            self.console.print(f"{name}{what}  {round_text(row)}{left}", soft_wrap=True)

    def baseline_round(self, site: str, row: RoundRow, last: bool) -> None:
        if self.remaining:
            self.remaining.add(row)
        if last and not self.quiet and not self.many:
            what = f"round {row.round:>3}"
            if row.averaged:
                what = f"mean of the last {row.averaged} rounds"
            self.console.print(f"local, {site}, {what}  {round_text(row)}", soft_wrap=True)

    @property
    def left(self) -> str:
        """`about 12 min left` of all rounds of the run; "" where that is not known, or none is."""
        if self.remaining is None or not (seconds := self.remaining.seconds):
            return ""
        return time_left_text(seconds, self.remaining.plan.may_stop_early)

    def close(self) -> None:
        """Plain lines have nothing to close."""


def _sizes(sites: Sequence[Any]) -> str:
    """The training patients of each site, or of very many how few and how many a site has."""
    if len(sites) <= MOST:
        return "training patients " + ", ".join(f"{s.site}: {s.n_train}" for s in sites)
    counts = sorted(s.n_train for s in sites)
    return (
        f"{len(sites):,} sites with {counts[0]} to {counts[-1]} training patients, "
        f"{sum(counts):,} in all"
    )


def round_text(row: RoundRow) -> str:
    """Losses, validation results and seconds of one round."""
    failures = f"  failures {row.failures}" if row.failures else ""
    return (
        f"loss {number(row.train_loss)}  validation: loss {number(row.val_loss)} "
        f"macro-F1 {number(row.val_macro_f1)} "
        f"macro-AUROC {number(row.val_macro_auroc)}  {row.seconds:.1f} s{failures}"
    )


class LiveView(PlainView):
    """A bar for the rounds and one line per site, redrawn in place."""

    def __init__(self, console: Console, remaining: Remaining | None = None) -> None:
        super().__init__(console, remaining=remaining)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self.live = Live(console=console, refresh_per_second=4, transient=True)
        self.sites: dict[str, str] = {}
        self.tasks: dict[str, TaskID] = {}  # bar of each training
        self.left_text, self.estimated = "", -math.inf  # and when it was estimated

    def training(self, strategy: str, rounds: int, sites: Sequence[Any]) -> None:
        super().training(strategy, rounds, sites)
        total = rounds * len(sites) if strategy == LOCAL else rounds
        if strategy not in self.tasks:  # otherwise it goes on with more sites
            self.tasks[strategy] = self.bar.add_task(strategy, total=total)
        # Local and pooled training run at the same time: their lines are shown together.
        others = self.sites if strategy == POOLED else {}
        self.sites = others | {s.site: f"{s.n_train} training patients" for s in sites}
        self.live.start()
        self._draw()

    def site(self, round_number: int, site: str, doing: str, note: str) -> None:
        super().site(round_number, site, doing, note)
        words = {"train": "trained", "val": "validated", "test": "tested"}
        done = words.get(doing, doing)
        self._put(site, f"round {round_number}: {done} {note}")
        self._draw()

    def round(self, row: RoundRow) -> None:
        super().round(row)
        if row.strategy == POOLED:
            self.sites[POOLED] = f"round {row.round}: trained and validated"
        self.bar.update(self.tasks[row.strategy], completed=row.round)
        self._draw()

    def baseline_round(self, site: str, row: RoundRow, last: bool) -> None:
        super().baseline_round(site, row, last)
        self._put(site, f"round {row.round}: trained and validated (local training)")
        if not row.averaged:
            self.bar.advance(self.tasks[LOCAL])
        self._draw()

    def close(self) -> None:
        """Stop redrawing and remove the live view."""
        self.live.stop()

    def _put(self, site: str, text: str) -> None:
        self.sites.pop(site, None)  # so that the last one is the newest
        self.sites[site] = text

    def _lines(self) -> list[tuple[str, str]]:
        """Every site and what it did last; of very many those that answered last."""
        if len(self.sites) <= MOST:
            return sorted(self.sites.items())
        newest = list(self.sites.items())[-NEWEST:]
        return [("", f"the last {NEWEST} of {len(self.sites):,} sites to answer:"), *newest]

    def _draw(self) -> None:
        table = Table.grid(padding=(0, 2))
        for site, text in self._lines():
            table.add_row(site, text)
        now = time.monotonic()
        if now > self.estimated + ESTIMATE:  # every site is an event, and there may be hundreds
            self.estimated, self.left_text = now, self.left
        self.live.update(Group(table, self.bar, self.left_text))


def make_view(console: Console, quiet: bool, remaining: Remaining | None = None) -> PlainView:
    """A live view on a terminal, plain lines elsewhere; with `quiet` only failures are shown."""
    if quiet or not console.is_terminal:
        return PlainView(console, quiet, remaining)
    return LiveView(console, remaining)


class PreprocessingProgress:
    """Progress of preprocessing: a bar on a terminal, a line per source elsewhere."""

    def __init__(self, console: Console, quiet: bool) -> None:
        self.console, self.quiet = console, quiet
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self.tasks: dict[str, Any] = {}

    def __enter__(self) -> "PreprocessingProgress":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def step(self, source: str, done: int, total: int) -> None:
        """`done` of `total` records of a source are preprocessed."""
        if source not in self.tasks:
            self.tasks[source] = self.bar.add_task(f"preprocessing {source}", total=total)
        self.bar.update(self.tasks[source], completed=done)
        if done == total and not self.quiet and not self.console.is_terminal:
            self.console.print(f"preprocessed {source}: {total} records")
