"""The partition that a run's settings ask for."""

from fl.config.run_config import RunConfig
from fl.data.cohort import Cohort
from fl.datasets import DATASETS
from fl.datasets.source_selection import SourceSelection
from fl.ecg.tasks import TASKS
from fl.util.errors import ConfigError, require_known
from partitions.dealing import deal, hold_out, share_sites, site_names
from partitions.device_skew import check_skews
from partitions.folds import with_test_fold
from partitions.partition import Partition, load_partition
from partitions.patients import count_groups
from partitions.schemes import PARTITIONERS
from partitions.splits import TRAIN


def partition_names() -> tuple[str, ...]:
    """What `--partition` accepts."""
    return (*PARTITIONERS, "file:PATH")


def check_partition(config: RunConfig, selection: SourceSelection) -> None:
    """`ConfigError` if the settings of the sites cannot be right, whatever the data are.

    `--partition` must be a scheme or name a file, `--skew` a fault that the task can have, and
    `--holdout` a source or, where patients are dealt to sites, one of the sites.
    """
    path = config.partition_file
    if path is None:
        require_known(config.partition, partition_names(), "--partition")
    elif not path.is_file():
        raise ConfigError(f"--partition file:{path}: no such file. Name a run's partition.csv.")
    check_skews(config.skews, TASKS[config.task])
    if selection.holds_out_site and path is None:
        known = [*site_names(config.clients), *selection.sources, *DATASETS]
        require_known(selection.holdout, known, "--holdout")


def make_partition(config: RunConfig, selection: SourceSelection, cohort: Cohort) -> Partition:
    """Deal the patients to sites, or read a saved partition; then set aside what is held out.

    With folds, each site tests one of them (the first, where the run is one of all folds); a saved
    partition then gives the sites alone.

    Raises ConfigError or DataError if the settings, the file and the data do not fit together.
    """
    partition = _partition(config, selection, cohort)
    if config.site_folds:
        fold = config.site_fold or 1
        return with_test_fold(partition, cohort, config.site_folds, fold, config.seed)
    if not (partition.split == TRAIN).any():
        raise ConfigError(
            f"--partition {config.partition}: no record of it is for training, as in the "
            "partition.csv of a run over folds. Use --site-folds, or the file of one fold."
        )
    return partition


def _partition(config: RunConfig, selection: SourceSelection, cohort: Cohort) -> Partition:
    """The partition without folds."""
    if config.partition_file is not None:
        saved = load_partition(config.partition_file, cohort, config.clients)
        return hold_out(saved, cohort, selection.holdout)
    recordings = {
        name: len(set(cohort.column("recordings")[cohort.sources == name].tolist()))
        for name in selection.sites
    }
    natural = config.partition == "natural"
    most = count_groups(cohort, selection.sites, config.seed) if natural else None
    sites = share_sites(selection.sites, recordings, config.clients, most)
    return deal(cohort, sites, config.partition, config.alpha, config.seed, selection.holdout)
