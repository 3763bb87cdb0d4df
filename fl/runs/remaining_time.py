"""How long the trainings of a run will still take, from the rounds that are over."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

from fl.config.run_config import LOCAL, POOLED
from fl.config.strategy_traits import trains_as
from fl.runs.history_tables import RoundRow

RECENT = 5  # rounds whose median stands for the rounds to come
IN_PROCESS = "local"  # the engine without workers


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The rounds that one run has to do, as its settings name them."""

    rounds: int  # of each training
    sites: int
    workers: int  # requests that are answered at the same time
    baselines: bool  # each site alone and all records pooled, as `--compare` asks for
    strategies: tuple[str, ...]  # those whose rounds are trained; some take another one's
    may_stop_early: bool  # `--patience`

    @classmethod
    def of(cls, config: Mapping[str, Any], sites: int, cores: int) -> "Plan":
        """From the settings of a run, which may be damaged; `ValueError` if they name no rounds."""
        asked = str(config.get("compare") or config.get("strategy") or "")
        workers = _whole(config.get("workers")) or cores
        rounds = _whole(config.get("rounds"))
        if not rounds:
            raise ValueError("the settings name no rounds")
        return cls(
            rounds=rounds,
            sites=max(sites, 1),
            workers=1 if config.get("engine") == IN_PROCESS else max(min(workers, sites), 1),
            baselines=bool(config.get("compare")),
            strategies=tuple(dict.fromkeys(trains_as(name) for name in asked.split(","))),
            may_stop_early=bool(_whole(config.get("patience"))),
        )


@dataclass(frozen=True, kw_only=True)
class TimeLeft:
    """Seconds until the last round of a run; its tests and pages come after it."""

    seconds: float
    of_whole: float  # what all of the run's rounds would take, for runs that are still to begin


def time_left(
    plan: Plan, rows: Iterable[RoundRow], finished: Collection[str] = ()
) -> TimeLeft | None:
    """An estimate from the lines of rounds.csv; None until a round is over.

    `finished` are trainings known to have ended, which with `--patience` is before the last round.
    """
    measured: dict[str, list[RoundRow]] = {}
    for row in rows:
        if not row.averaged and math.isfinite(row.seconds):
            measured.setdefault(trains_as(row.strategy), []).append(row)
    speed = _Speed(plan, measured)
    if speed.federated is None:
        return None
    over = {trains_as(name) for name in finished} | _before_the_last(plan, measured)
    nothing: Mapping[str, Sequence[RoundRow]] = {}
    return TimeLeft(
        seconds=_seconds(plan, speed, measured, over),
        of_whole=_seconds(plan, speed, nothing, ()),
    )


@dataclass(kw_only=True)
class Remaining:
    """The time left of a run that is going, kept by the run itself from the rounds it reports."""

    plan: Plan
    rows: list[RoundRow]  # so far; of a resumed run also those before it stopped
    parts_to_come: int = 0  # further seeds and folds, each with as many rounds

    def add(self, row: RoundRow) -> None:
        """A round is over; of local training, the round of one site."""
        self.rows.append(row)

    @property
    def seconds(self) -> float | None:
        """Seconds until the last round; None until a round is over."""
        left = time_left(self.plan, self.rows)
        return left.seconds + self.parts_to_come * left.of_whole if left else None


class _Speed:
    """Seconds of a round; what has not been measured is taken from what has."""

    def __init__(self, plan: Plan, measured: Mapping[str, Sequence[RoundRow]]) -> None:
        self.of = {
            name: median(row.seconds for row in rows[-RECENT:])
            for name, rows in measured.items()
            if name != LOCAL
        }
        alone = measured.get(LOCAL, [])
        trained = sum(row.participants for row in alone)
        # Seconds of one site's round by itself. Pooled training goes through all records once.
        own = sum(row.seconds for row in alone) / trained if trained else None
        if own is None and POOLED in self.of:
            own = self.of[POOLED] / plan.sites
        self.own = own
        begun = [self.of[name] for name in plan.strategies if name in self.of]
        if begun:
            self.federated: float | None = mean(begun)
        else:
            self.federated = None if own is None else own * plan.sites / plan.workers
        if self.own is None and self.federated is not None:
            self.own = self.federated * plan.workers / plan.sites


def _seconds(
    plan: Plan,
    speed: _Speed,
    measured: Mapping[str, Sequence[RoundRow]],
    over: Collection[str],
) -> float:
    def rounds_left(name: str) -> int:
        done = max((row.round for row in measured.get(name, ())), default=0)
        return 0 if name in over else max(plan.rounds - done, 0)

    own, federated = speed.own or 0.0, speed.federated or 0.0
    total = math.fsum(rounds_left(n) * speed.of.get(n, federated) for n in plan.strategies)
    if plan.baselines:
        done = sum(row.participants for row in measured.get(LOCAL, ()))
        units = 0 if LOCAL in over else max(plan.rounds * plan.sites - done, 0)
        pooled = rounds_left(POOLED) * speed.of.get(POOLED, own * plan.sites)
        # They share the workers, and pooled training cannot be divided among them.
        total += max((units * own + pooled) / plan.workers, pooled)
    return total


def _before_the_last(plan: Plan, measured: Mapping[str, Sequence[RoundRow]]) -> set[str]:
    """Trainings that ended, since a later one has begun."""
    begun = [name for name in plan.strategies if name in measured]
    return {*begun[:-1], *((LOCAL, POOLED) if begun else ())}


def _whole(value: object) -> int:
    """A whole number of the settings; 0 for anything else."""
    return value if isinstance(value, int) and 0 < value < 10**9 else 0
