"""The names that settings accept, from the tables that define them."""

from collections.abc import Collection

from fl.config.run_config import RunConfig
from fl.datasets import DATASETS
from fl.datasets.source_selection import SourceSelection, select_sources
from fl.ecg.tasks import TASKS
from fl.models import MODELS, check_model, check_signal_dropout
from fl.training.added_examples import check_remedies
from fl.training.augmentation import AUGMENTATIONS, check_augmentations
from fl.training.frozen import frozen_entries
from fl.training.state_dict import check_local_entries
from fl.util.errors import require_known
from partitions.build import check_partition, partition_names
from partitions.device_skew import SKEWS


def known_names() -> dict[str, Collection[str]]:
    """Setting -> the names it accepts, for `--help`."""
    strategies = _strategies()
    return {
        "sources": DATASETS,
        "partition": partition_names(),
        "skew": SKEWS,
        "model": MODELS,
        "augment": AUGMENTATIONS,
        "strategy": strategies,
        "compare": strategies,
    }


def check_choices(config: RunConfig) -> SourceSelection:
    """The run's sources; `ConfigError` names a setting that no table knows or that has no data.

    Reads no recording.
    """
    check_model(config.model, TASKS[config.task])
    if config.signal_dropout >= 0:
        check_signal_dropout(config.model, TASKS[config.task])
    frozen_entries(config.freeze, config.model, config.task)
    check_augmentations(config.augmentations, TASKS[config.task])
    check_remedies(config)
    selection = select_sources(config)
    check_partition(config, selection)
    strategies = _strategies()
    for name in config.strategies:
        require_known(name, strategies, "--compare" if config.compare else "--strategy")
        check_local_entries(name, config.model, config.task, config.freeze)
    return selection


def _strategies() -> Collection[str]:
    # Imported here: it loads Flower, and every other mistake is answered before.
    from server.aggregation.strategies import STRATEGIES

    return STRATEGIES
