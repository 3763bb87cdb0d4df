"""Which data sets a run uses, by its settings and by what is on disk."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fl.config.run_config import RunConfig
from fl.datasets import DATASETS
from fl.datasets.base import Card, Source, ignoring_checksums
from fl.datasets.own_folder import TABLE, OwnFolder, parse_source
from fl.datasets.physionet.remotes import REMOTES
from fl.datasets.synthetic import SYNTHETIC, SYNTHETIC_HOLTER, Synthetic, with_seven_beats
from fl.ecg.labels import RHYTHM_CLASSES
from fl.ecg.tasks import RHYTHM_FEATURES, TASKS
from fl.util.errors import ConfigError, did_you_mean

DEFAULT_SOURCES = {
    **dict.fromkeys(
        ("rhythm-wavelet", *(task.name for task in RHYTHM_FEATURES.values())),
        ("cpsc2018", "cpsc2018-lead1", "mitdb"),
    ),
    **dict.fromkeys(
        ("beat", "beat-causal", "beat-xqrs", "beat-gqrs", "beat-wavelet", "beat-plain"),
        ("mitdb", "svdb", "incart"),
    ),
    "beat7": ("mitdb",),
    **dict.fromkeys(("mi", "mi-12lead"), ("ptbxl", "ptbdb", "ptb")),
}
# Databases whose beats have other classes than the beat7 task asks for.
NOT_BEAT7 = {
    "svdb": "its N stands for every normally conducted beat, and L, R and / are not annotated",
    "incart": "it annotates R but no L and no /, so that its N can be any of them",
}
# A data set that is another form of one, with the same recordings and without its patients: it is
# used by default only where the other is not.
OTHER_FORM_OF = {"ptb": "ptbdb"}


@dataclass(frozen=True, kw_only=True)
class SourceSelection:
    """The sources of a run, and what is known of their sites before patients are dealt."""

    sources: dict[str, Source]
    sites: dict[str, int | None]  # number of sites if the user gave one; without the holdout
    holdout: str  # name of a source or of a site, "" for none

    @property
    def holds_out_site(self) -> bool:
        """Whether `holdout` can only be the name of a site."""
        return bool(self.holdout) and self.holdout not in self.sources

    @property
    def synthetic(self) -> tuple[str, ...]:
        """Names of the synthetic sources."""
        return tuple(n for n, s in self.sources.items() if s.card.synthetic)


def select_sources(config: RunConfig) -> SourceSelection:
    """The run's sources; `ConfigError` says what is missing and where it was expected."""
    root = Path(config.data_dir)
    requested = dict(_parse(item) for item in config.sources.split(",") if item.strip())
    if not requested:
        requested = {source.card.name: (source, None) for source in _default_sources(config, root)}
    sources = {name: source for name, (source, _) in requested.items()}
    sites = {name: n for name, (_, n) in requested.items()}
    holdout = config.holdout
    if holdout in DATASETS or "=" in holdout:
        holdout, (source, _) = _parse(holdout)
        sources.setdefault(holdout, source)
    sites.pop(holdout, None)
    if not sites:
        raise ConfigError(
            f"--holdout {config.holdout}: no source is left to train on. Name more in --sources."
        )
    for name, source in sources.items():
        if config.data == "real" and source.card.synthetic:
            raise ConfigError(f"--data is 'real', but --sources names {name}, which is synthetic.")
        if config.data == "synthetic" and not source.card.synthetic:
            raise ConfigError(f"--data is 'synthetic', but --sources names {name}, which is real.")
        if not source.exists(root):
            raise ConfigError(
                f"{name}: not found in {root.resolve()}. Found there: "
                f"{', '.join(_existing(root)) or 'no known data set'}. Point --data-dir at the "
                f"folder that holds it, or run: python -m fl.datasets download {name}"
            )
        require_classes(name, source, config.task)
    sources = {
        name: for_task(_sized(source, config), config.task) for name, source in sources.items()
    }
    if config.ignore_checksums:
        sources = {name: ignoring_checksums(source) for name, source in sources.items()}
    return SourceSelection(sources=sources, sites=sites, holdout=holdout)


def _default_sources(config: RunConfig, root: Path) -> Sequence[Source]:
    """The task's default data sets that exist, else the synthetic cohorts."""
    names = DEFAULT_SOURCES[config.task]
    real = [DATASETS[name] for name in names if DATASETS[name].exists(root)]
    found = {source.card.name for source in real}
    real = [source for source in real if OTHER_FORM_OF.get(source.card.name) not in found]
    real = [source for source in real if source.card.name != config.holdout]
    if config.data == "real" and not real:
        raise ConfigError(
            f"--data is 'real', but {root.resolve()} has none of {', '.join(names)}. Point "
            "--data-dir (or $ECG_DATA) at the folder that holds them, or run: "
            f"python -m fl.datasets download {' '.join(n for n in names if n in REMOTES)}"
        )
    if real and config.data != "synthetic":
        return real
    return [SYNTHETIC, SYNTHETIC_HOLTER]


def require_classes(name: str, source: Source, task: str) -> None:
    """`ConfigError` for a source without any label of the task."""
    if has_labels(source.card, task):
        return
    if task == "beat7":
        raise ConfigError(
            f"{name} cannot be used for --task beat7: {NOT_BEAT7[name]}. Accepted: mitdb, and "
            "folders of your own with .atr files. Leave it out, or choose --task beat."
        )
    infarction = TASKS[task].infarction
    step = (
        f"Give it a {TABLE} with the columns record, patient and labels"
        if isinstance(source, OwnFolder)
        else f"Use {', '.join(DEFAULT_SOURCES[task])}"
        if infarction
        else "Leave it out"
    )
    if infarction:
        raise ConfigError(
            f"{name} does not say who has a myocardial infarction, which --task {task} asks. "
            f"{step}."
        )
    beats = source.card.lead_two
    found, other = ("annotated heartbeats", "beat") if beats else ("infarctions", "mi")
    raise ConfigError(
        f"{name} has {found} and no class of --task {task}. {step}, or choose --task {other}."
    )


def has_labels(card: Card, task: str) -> bool:
    """Whether a source has labels that a task asks for; any source will do without a task."""
    if task == "beat7":
        return card.name not in NOT_BEAT7
    if task and TASKS[task].infarction:
        return bool(card.infarction)
    return not task or TASKS[task].classes != RHYTHM_CLASSES or bool(card.annotates)


def for_task(source: Source, task: str) -> Source:
    """A synthetic source with the patients that the task asks about; a real one unchanged."""
    if not isinstance(source, Synthetic):
        return source
    if TASKS[task].whole_beats:
        source = with_seven_beats(source)
    return replace(source, infarction=TASKS[task].infarction)


def _sized(source: Source, config: RunConfig) -> Source:
    """A synthetic source with the run's seed and size; a real one unchanged."""
    if not isinstance(source, Synthetic):
        return source
    divisor = 2 if source.holter else 1  # the Holter cohort has half as many of each
    return replace(
        source,
        n_records=config.synthetic_records // divisor,
        n_patients=config.synthetic_patients // divisor,
        seed=config.seed,
    )


def _parse(item: str) -> tuple[str, tuple[Source, int | None]]:
    """Name, source and number of sites of one item of --sources.

    An item is `cpsc2018`, `cpsc2018=5` (sites) or `mysite=PATH` (a hospital's own folder).
    """
    name, _, value = item.strip().partition("=")
    if value and not value.isdigit():
        source = parse_source(item.strip())
        return source.card.name, (source, None)
    if name not in DATASETS:
        raise ConfigError(
            f"--sources names {name!r}.{did_you_mean(name, DATASETS)} Known: "
            f"{', '.join(DATASETS)}, or NAME=PATH for a folder of WFDB records with a {TABLE} or, "
            "for --task beat, with .atr files."
        )
    if value == "0":
        raise ConfigError(f"--sources {item.strip()}: a source needs at least one site.")
    return name, (DATASETS[name], int(value) if value else None)


def _existing(root: Path) -> list[str]:
    """Names of the data sets that exist in the data folder."""
    return [n for n, s in DATASETS.items() if not s.card.synthetic and s.exists(root)]
