"""What each run directory holds, in a few words: for lists of runs, also of those that failed."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fl.config.run_config import LOCAL, POOLED
from fl.util.errors import ConfigError, did_you_mean

PLACES = ("central", "unseen", "mean of sites", "worst site")  # where a run's macro-F1 is taken


@dataclass(frozen=True, kw_only=True)
class Score:
    """A macro-F1 and its range: a 95% interval by patients, or the lowest and highest seed."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class RunOverview:
    """One run directory, or the parent of a run's seeds."""

    folder: Path
    status: str  # running | completed | failed; unreadable: its files are damaged
    started: str  # date and time, UTC
    config: Mapping[str, Any]
    synthetic: tuple[str, ...]  # sources that are not real
    error: str = ""  # why it failed
    seeds: tuple[int, ...] = ()
    scores: Mapping[str, Mapping[str, Score]] = field(default_factory=dict)  # strategy -> place

    @property
    def task(self) -> str:
        """The question it answers."""
        return str(self.config.get("task", ""))

    @property
    def strategies(self) -> tuple[str, ...]:
        """Its trainings: those with results, else those it was asked for."""
        asked = str(self.config.get("compare") or self.config.get("strategy", ""))
        return tuple(self.scores) or tuple(asked.split(","))

    @property
    def main(self) -> str:
        """The strategy it is judged by: the one its settings name, else the first federated."""
        named = str(self.config.get("strategy", ""))
        federated = [name for name in self.strategies if name not in (LOCAL, POOLED)]
        return named if named in federated else (federated or list(self.strategies))[0]

    @property
    def headline(self) -> Score | None:
        """Macro-F1 on the central test records, if it has been measured."""
        return self.scores.get(self.main, {}).get("central")


def list_runs(parent: Path) -> list[RunOverview]:
    """The runs in a folder, the oldest first; `ConfigError` if there is no such folder."""
    if not parent.is_dir():
        raise ConfigError(f"{parent}: no such folder. Name the folder of the run directories.")
    runs = [_overview_or_unreadable(path.parent) for path in parent.glob("*/run.json")]
    return sorted(runs, key=lambda run: (run.started, run.folder.name))


def find_run(name: str, parent: Path) -> Path:
    """A run directory by its path, or by its name in `parent`; `ConfigError` if there is none."""
    for folder in (Path(name), parent / name):
        if (folder / "run.json").is_file():
            return folder
    known = [path.parent.name for path in parent.glob("*/run.json")]
    raise ConfigError(
        f"{name}: is no run directory, and {parent} has none of that name."
        f"{did_you_mean(name, known)} `heartfed runs list {parent}` shows those it has."
    )


def read_overview(folder: Path) -> RunOverview:
    """A run directory in a few words; `ConfigError` if its run.json cannot be read."""
    facts = _read(folder / "run.json")
    status = str(facts.get("status", "unknown"))
    seeds = tuple(facts.get("seeds", ()))
    return RunOverview(
        folder=folder,
        status=status,
        started=str(facts.get("started", "")),
        config=dict(facts.get("config", {})),
        synthetic=tuple(facts.get("synthetic", ())),
        error=str(facts.get("error", "")) if status == "failed" else "",
        seeds=seeds,
        scores=_scores(folder, bool(seeds)) if status == "completed" else {},
    )


def differing_settings(runs: Iterable[RunOverview]) -> dict[str, list[Any]]:
    """Setting -> its value in each run, where the runs differ."""
    configs = [run.config for run in runs]
    names = dict.fromkeys(name for config in configs for name in config)
    values = {name: [config.get(name) for config in configs] for name in names}
    return {name: given for name, given in values.items() if any(v != given[0] for v in given)}


def _overview_or_unreadable(folder: Path) -> RunOverview:
    """A damaged run does not hide the others."""
    try:
        return read_overview(folder)
    except ConfigError as error:
        return RunOverview(
            folder=folder,
            status="unreadable",
            started="",
            config={},
            synthetic=(),
            error=str(error),
        )


def _scores(folder: Path, repeated: bool) -> dict[str, dict[str, Score]]:
    file = folder / ("seeds.json" if repeated else "summary.json")
    read = _scores_over_seeds if repeated else _scores_of_run
    return {name: dict(read(r)) for name, r in _read(file).get("strategies", {}).items()}


def _scores_of_run(result: Mapping[str, Any]) -> Iterable[tuple[str, Score]]:
    for place in ("central", "unseen"):
        measured = (result.get(place) or {}).get("macro_f1", {})
        if measured.get("value") is not None:
            yield place, Score(**{key: measured.get(key) for key in ("value", "low", "high")})
    for place, key in (("mean of sites", "site_mean"), ("worst site", "worst_site")):
        if result.get(key):
            yield place, Score(value=result[key]["macro_f1"])


def _scores_over_seeds(result: Mapping[str, Any]) -> Iterable[tuple[str, Score]]:
    for place in PLACES:
        key = {"mean of sites": "mean_site", "worst site": "worst_site"}.get(place, place)
        measured = result.get(key, {}).get("macro_f1", {})
        if measured.get("mean") is not None:
            low, high = measured["low_seed"], measured["high_seed"]
            yield place, Score(value=measured["mean"], low=low, high=high)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}). Is this a run directory?") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: holds no JSON object. Is this a run directory?")
    return content
