"""The partition that a run's settings ask for."""

from fl.config.run_config import RunConfig
from fl.data.cohort import Cohort
from fl.datasets import DATASETS
from fl.datasets.source_selection import SourceSelection
from fl.util.errors import ConfigError, require_known
from partitions.dealing import deal, hold_out, share_sites, site_names
from partitions.partition import Partition, load_partition
from partitions.patients import count_groups
from partitions.schemes import PARTITIONERS


def check_partition(config: RunConfig) -> None:
    """`ConfigError` unless `--partition` is a scheme or names a file."""
    path = config.partition_file
    if path is None:
        require_known(config.partition, PARTITIONERS | {"file:PATH": None}, "--partition")
    elif not path.is_file():
        raise ConfigError(f"--partition file:{path}: no such file. Name a run's partition.csv.")


def check_holdout(config: RunConfig, choice: SourceSelection) -> None:
    """`ConfigError` unless `--holdout` is a source or, where sites are dealt, one of them."""
    if choice.holds_out_site and config.partition_file is None:
        known = [*site_names(config.clients), *choice.sources, *DATASETS]
        require_known(choice.holdout, dict.fromkeys(known), "--holdout")


def make_partition(config: RunConfig, choice: SourceSelection, cohort: Cohort) -> Partition:
    """Deal the patients to sites, or read a saved partition; then set aside what is held out.

    Raises ConfigError or DataError if the settings, the file and the data do not fit together.
    """
    if config.partition_file is not None:
        partition = load_partition(config.partition_file, cohort, config.clients)
        return hold_out(partition, cohort, choice.holdout)
    recordings = {
        name: len(set(cohort.column("recordings")[cohort.sources == name].tolist()))
        for name in choice.sites
    }
    natural = config.partition == "natural"
    most = count_groups(cohort, choice.sites, config.seed) if natural else None
    sites = share_sites(choice.sites, recordings, config.clients, most)
    return deal(cohort, sites, config.partition, config.alpha, config.seed, choice.holdout)
