"""What each run directory holds, in a few words: for lists of runs, also of those that failed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fl.config.run_config import NOT_FEDERATED
from fl.evaluation.group_evaluation import Estimate
from fl.evaluation.seed_summary import Spread
from fl.runs.bounded_files import read_json
from fl.runs.results import REMEDY, SUMMARY, SiteMean, WorstSite, read_seeds
from fl.runs.run_state import COMPLETED, CONTINUABLE, UNREADABLE, run_state, was_interrupted
from fl.util.errors import ConfigError, DataError, did_you_mean
from fl.util.json_record import JsonRecord

PLACES = ("central", "unseen", "mean of sites", "worst site")  # where a run's macro-F1 is taken


class _Measured(JsonRecord):
    """Of a group's measures, those that a list shows: the rest is not checked, which takes long."""

    macro_f1: Estimate


class _Reached(JsonRecord):
    central: _Measured | None
    unseen: _Measured | None
    worst_site: WorstSite | None
    site_mean: SiteMean | None


class _Results(JsonRecord):
    """The headlines of summary.json."""

    strategies: dict[str, _Reached]


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
    status: str  # of run_state
    started: str  # date and time, UTC
    config: Mapping[str, Any]
    synthetic: tuple[str, ...]  # sources that are not real
    error: str = ""  # why it ended, or which of its files cannot be read
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
        federated = [name for name in self.strategies if name not in NOT_FEDERATED]
        return named if named in federated else (federated or list(self.strategies))[0]

    @property
    def headline(self) -> Score | None:
        """Macro-F1 on the central test records, if it has been measured."""
        return self.scores.get(self.main, {}).get("central")


def list_runs(parent: Path) -> list[RunOverview]:
    """The runs in a folder, the oldest first; `ConfigError` if there is no such folder."""
    if not parent.is_dir():
        raise ConfigError(f"{parent}: no such folder. Name the folder of the run directories.")
    runs = [read_overview_leniently(path.parent) for path in parent.glob("*/run.json")]
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
    """A run directory in a few words; `DataError` if its files cannot be read."""
    run = _without_scores(folder)
    if run.status != COMPLETED:
        return run
    return replace(run, scores=_scores(folder, bool(run.seeds)))


def read_overview_leniently(folder: Path) -> RunOverview:
    """As `read_overview`; what cannot be read is missing, and `error` names it."""
    try:
        run = _without_scores(folder)
    except DataError as error:
        return _unreadable(folder, error)
    try:
        return read_overview(folder)
    except DataError as error:
        return replace(run, error=str(error))


def _without_scores(folder: Path) -> RunOverview:
    facts = read_json(folder / "run.json")
    status = run_state(folder, facts)
    config, seeds, synthetic = (facts.get(name) for name in ("config", "seeds", "synthetic"))
    ended = "" if was_interrupted(facts) else str(facts.get("error", ""))
    return RunOverview(
        folder=folder,
        status=status,
        started=str(facts.get("started", "")),
        config=config if isinstance(config, dict) else {},
        synthetic=tuple(map(str, synthetic)) if isinstance(synthetic, list) else (),
        error=ended if status in CONTINUABLE else "",
        seeds=tuple(s for s in seeds if isinstance(s, int)) if isinstance(seeds, list) else (),
    )


def differing_settings(runs: Iterable[RunOverview]) -> dict[str, list[Any]]:
    """Setting -> its value in each run, where the runs differ."""
    configs = [run.config for run in runs]
    names = dict.fromkeys(name for config in configs for name in config)
    values = {name: [config.get(name) for config in configs] for name in names}
    return {name: given for name, given in values.items() if any(v != given[0] for v in given)}


def _unreadable(folder: Path, error: DataError) -> RunOverview:
    """A damaged run does not hide the others."""
    return RunOverview(
        folder=folder, status=UNREADABLE, started="", config={}, synthetic=(), error=str(error)
    )


def _scores(folder: Path, repeated: bool) -> dict[str, dict[str, Score]]:
    if repeated:
        spreads = read_seeds(folder).strategies
        return {name: dict(_scores_over_seeds(places)) for name, places in spreads.items()}
    path = folder / SUMMARY
    trainings = _Results.from_json(read_json(path), str(path), REMEDY).strategies
    return {name: dict(_scores_of_run(training)) for name, training in trainings.items()}


def _scores_of_run(training: _Reached) -> Iterable[tuple[str, Score]]:
    for place, measures in (("central", training.central), ("unseen", training.unseen)):
        if measures and measures.macro_f1.value is not None:
            yield place, Score(**dict(measures.macro_f1))
    if training.site_mean:
        yield "mean of sites", Score(value=training.site_mean.macro_f1)
    if training.worst_site:
        yield "worst site", Score(value=training.worst_site.macro_f1)


def _scores_over_seeds(places: Mapping[str, Mapping[str, Spread]]) -> Iterable[tuple[str, Score]]:
    for place in PLACES:
        key = {"mean of sites": "mean_site", "worst site": "worst_site"}.get(place, place)
        spread = places.get(key, {}).get("macro_f1")
        if spread and spread.mean is not None:
            yield place, Score(value=spread.mean, low=spread.low_seed, high=spread.high_seed)
