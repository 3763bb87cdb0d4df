"""Which data sets a run uses, from its settings and from what is on disk."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fl.config.run_config import RunConfig
from fl.datasets import DATASETS
from fl.datasets.base import Source
from fl.datasets.own_folder import parse_source
from fl.datasets.synthetic import SYNTHETIC, SYNTHETIC_HOLTER, Synthetic
from fl.util.errors import ConfigError, did_you_mean

DEFAULT = {
    "rhythm": ("cpsc2018", "cpsc2018-lead1", "mitdb"),
    **dict.fromkeys(("beat", "beat-causal", "beat-xqrs", "beat-gqrs"), ("mitdb",)),
}


@dataclass(frozen=True, kw_only=True)
class SourceSelection:
    """The sources of a run. `sites` is what the user fixed, None where we decide."""

    sources: dict[str, Source]
    sites: dict[str, int | None]  # without the source held out
    holdout: str  # a source, else a site of the partition

    @property
    def holds_out_site(self) -> bool:
        """Whether `holdout` can only be a site."""
        return bool(self.holdout) and self.holdout not in self.sources

    @property
    def synthetic(self) -> tuple[str, ...]:
        """Names of the sources that are not real."""
        return tuple(n for n, s in self.sources.items() if s.card.synthetic)


def select_sources(config: RunConfig) -> SourceSelection:
    """The run's sources; `ConfigError` says what is missing and where it was looked for."""
    root = Path(config.data_dir)
    wanted = dict(_parse(item) for item in config.sources.split(",") if item.strip())
    if not wanted:
        wanted = {source.card.name: (source, None) for source in _default(config, root)}
    sources = {name: source for name, (source, _) in wanted.items()}
    sites = {name: n for name, (_, n) in wanted.items()}
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
        if not source.found(root):
            raise ConfigError(
                f"{name}: not found in {root.resolve()}. Found there: "
                f"{', '.join(_found(root)) or 'no known data set'}. Point --data-dir at the "
                f"folder that holds it, or run: python -m fl.datasets download {name}"
            )
    sources = {name: _sized(source, config) for name, source in sources.items()}
    return SourceSelection(sources=sources, sites=sites, holdout=holdout)


def _default(config: RunConfig, root: Path) -> Sequence[Source]:
    real = [DATASETS[n] for n in DEFAULT[config.task] if DATASETS[n].found(root)]
    real = [source for source in real if source.card.name != config.holdout]
    if config.data == "real" and not real:
        raise ConfigError(
            f"--data is 'real', but {root.resolve()} holds none of "
            f"{', '.join(DEFAULT[config.task])}. Point --data-dir (or $ECG_DATA) at the folder "
            "that holds them, or run: python -m fl.datasets download cpsc2018 mitdb"
        )
    if real and config.data != "synthetic":
        return real
    return [SYNTHETIC, SYNTHETIC_HOLTER]


def _sized(source: Source, config: RunConfig) -> Source:
    """A synthetic source as large as asked and of the run's seed; a real one as it is."""
    if not isinstance(source, Synthetic):
        return source
    part = 2 if source.holter else 1
    return replace(
        source,
        n_records=config.synthetic_records // part,
        n_patients=config.synthetic_patients // part,
        seed=config.seed,
    )


def _parse(item: str) -> tuple[str, tuple[Source, int | None]]:
    """`cpsc2018`, `cpsc2018=5` (sites) or `mysite=PATH` (a hospital's own folder)."""
    name, _, value = item.strip().partition("=")
    if value and not value.isdigit():
        source = parse_source(item.strip())
        return source.card.name, (source, None)
    if name not in DATASETS:
        raise ConfigError(
            f"--sources names {name!r}.{did_you_mean(name, DATASETS)} Known: "
            f"{', '.join(DATASETS)}, or NAME=PATH for a folder of WFDB records with a labels.csv."
        )
    if value == "0":
        raise ConfigError(f"--sources {item.strip()}: a source needs at least one site.")
    return name, (DATASETS[name], int(value) if value else None)


def _found(root: Path) -> list[str]:
    return [n for n, s in DATASETS.items() if not s.card.synthetic and s.found(root)]
