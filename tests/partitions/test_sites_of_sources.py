"""How many sites a source has, who is at them, and what the settings may ask for."""

import re
from dataclasses import replace

import numpy as np
import pytest
from support.made_cohorts import made_cohort, made_shard

from fl.config.run_config import RunConfig
from fl.data.cohort import Cohort
from fl.datasets.source_selection import SourceSelection
from fl.datasets.synthetic import SYNTHETIC
from fl.ecg.tasks import RHYTHM
from fl.util.errors import ConfigError
from partitions.build import check_partition, make_partition, partition_names
from partitions.dealing import deal, hold_out, share_sites, site_names
from partitions.partition import CENTRAL, UNSEEN, Partition, write_partition

SELECTION = SourceSelection(sources={"one": SYNTHETIC}, sites={"one": None}, holdout="")


def source(name, n, labels=None, **columns):
    """A source of `n` patients with one example each."""
    return made_shard([f"P{i:03d}" for i in range(n)], labels, source=name, **columns)


def two_sources(n=60):
    return Cohort.of(RHYTHM, [source("one", n), source("two", n)])


@pytest.mark.parametrize(
    ("recordings", "clients", "shares"),
    [
        ({"a": 100, "b": 400}, 2, {"a": 1, "b": 1}),
        ({"a": 100, "b": 400}, 5, {"a": 2, "b": 3}),
        ({"a": 900, "b": 100}, 6, {"a": 4, "b": 2}),
        ({"a": 0, "b": 100}, 4, {"a": 1, "b": 3}),
    ],
)
def test_sites_are_shared_by_the_square_root_of_the_recordings(recordings, clients, shares):
    assert share_sites(dict.fromkeys(recordings), recordings, clients) == shares


@pytest.mark.parametrize(
    ("fixed", "clients", "needed"),
    [({"a": 5}, 6, "5 by --sources."), ({"a": 5, "b": None, "c": None}, 6, "5 .* and 2 more.")],
)
def test_the_message_says_how_many_sites_are_needed(fixed, clients, needed):
    with pytest.raises(ConfigError, match=rf"of its own: {needed} Sources: {', '.join(fixed)}"):
        share_sites(fixed, dict.fromkeys(fixed, 10), clients)


def test_every_group_may_be_a_site_of_its_own_and_no_more():
    most = {"a": 2, "b": 3}
    assert share_sites({"a": None, "b": None}, {"a": 900, "b": 1}, 5, most) == {"a": 2, "b": 3}
    assert share_sites({"a": 2, "b": None}, {"a": 1, "b": 1}, 3, most) == {"a": 2, "b": 1}
    for sources, clients in (({"a": None, "b": None}, 6), ({"a": 3, "b": None}, 4)):
        with pytest.raises(ConfigError, match=r"have: a 2, b 3\. Use --clients 5 or fewer"):
            share_sites(sources, {"a": 1, "b": 1}, clients, most)


def test_sites_that_one_source_cannot_have_go_to_the_others():
    most, recordings = {"a": 2, "b": 9, "c": 9}, {"a": 10_000, "b": 100, "c": 100}
    shares = share_sites(dict.fromkeys(most), recordings, 8, most)
    assert shares == {"a": 2, "b": 3, "c": 3}


def test_sites_have_the_shares_of_their_splits():
    cohort = made_cohort([f"P{i:03d}" for i in range(94)])  # 80 without the central ones
    partition = deal(cohort, {"made-up": 2}, "iid", 0.5, seed=0)
    for site in ("site-1", "site-2"):
        sizes = [len(partition.rows(site, split)) for split in ("train", "val", "test")]
        assert sizes == [28, 6, 6]
    assert len(partition.rows(CENTRAL, "test")) == 14
    assert (partition.site != "").all()


@pytest.mark.parametrize("seed", range(5))
def test_every_class_is_on_every_side_of_a_site_that_has_it_thrice(seed):
    labels = [[0] if i < 4 else [1] for i in range(60)]
    cohort = Cohort.of(RHYTHM, [source("one", 60, labels)])
    partition = deal(cohort, {"one": 1}, "iid", 0.5, seed)
    rare = cohort.labels[:, 0] == 1
    assert (partition.site[rare] == "site-1").sum() == 3
    at_site = partition.split[rare & (partition.site == "site-1")].tolist()
    assert sorted(at_site) == ["test", "train", "val"]


def test_sites_are_numbered_on_from_source_to_source():
    partition = deal(two_sources(), {"one": 9, "two": 2}, "iid", 0.5, seed=0)
    assert partition.sites == [f"site-{i:02d}" for i in range(1, 12)] == site_names(11)
    second = np.arange(120) >= 60
    assert set(partition.site[second].tolist()) == {CENTRAL, "site-10", "site-11"}


def test_patients_of_the_same_name_in_two_sources_are_dealt_by_themselves():
    cohort = two_sources()
    whole = deal(cohort, {"one": 2, "two": 2}, "iid", 0.5, seed=0)
    alone = deal(cohort.take(np.arange(60)), {"one": 2}, "iid", 0.5, seed=0)
    assert whole.site[:60].tolist() == alone.site.tolist()
    assert whole.split[:60].tolist() == alone.split.tolist()


def test_the_scheme_has_the_alpha_that_is_asked_for():
    def largest_site(alpha):
        partition = deal(two_sources(200), {"one": 4, "two": 1}, "quantity", alpha, seed=1)
        return max(int((partition.site == site).sum()) for site in partition.sites[:4])

    assert largest_site(1e9) < 46
    assert largest_site(0.1) > 80


@pytest.mark.parametrize("scheme", ["iid", "dirichlet", "pathological"])
def test_patients_without_a_class_are_dealt_and_tested_like_a_class(scheme):
    labels = [[0] if i % 3 else [] for i in range(120)]
    cohort = made_cohort([f"p{i}" for i in range(120)], labels, source="one")
    partition = deal(cohort, {"one": 2}, scheme, 50.0, seed=0)
    none = ~(cohort.labels == 1).any(axis=1)
    assert (partition.site[none] == CENTRAL).sum() == 6  # 15% of 40
    at_sites = none & (partition.site != CENTRAL)
    assert set(partition.split[at_sites].tolist()) == {"train", "val", "test"}


def test_nothing_is_held_out_without_a_name():
    partition = deal(two_sources(), {"one": 2, "two": 1}, "iid", 0.5, seed=0)
    assert hold_out(partition, two_sources(), "") is partition


def test_a_held_out_source_takes_its_central_patients_with_it():
    cohort = two_sources()
    partition = hold_out(deal(cohort, {"one": 2, "two": 1}, "iid", 0.5, seed=0), cohort, "two")
    assert (partition.site[60:] == UNSEEN).all()
    assert (partition.split[60:] == "test").all()
    assert partition.sites == ["site-1", "site-2"]
    assert (partition.site[:60] == CENTRAL).sum() == 9


@pytest.mark.parametrize("name", [CENTRAL, UNSEEN, "site-9"])
def test_only_a_source_or_a_site_can_be_held_out(name):
    cohort = two_sources()
    partition = hold_out(deal(cohort, {"one": 2, "two": 1}, "iid", 0.5, seed=0), cohort, "site-2")
    with pytest.raises(ConfigError, match=f"--holdout is '{name}'.*: site-1, site-3"):
        hold_out(partition, cohort, name)


def test_a_federation_needs_a_site_besides_the_central_and_the_unseen_ones():
    cohort = made_cohort("abc")
    partition = Partition(np.array(["site-1", CENTRAL, UNSEEN]), np.full(3, "test"))
    with pytest.raises(ConfigError, match="no site is left"):
        hold_out(partition, cohort, "site-1")


def test_unknown_settings_of_the_sites_are_named(tmp_path):
    check_partition(RunConfig(partition="natural"), SELECTION)
    with pytest.raises(ConfigError, match=r"--partition is 'irregular'. Known: .*file:PATH"):
        check_partition(RunConfig(partition="irregular"), SELECTION)
    missing = f"file:{tmp_path / 'no.csv'}"
    with pytest.raises(ConfigError, match=f"--partition {re.escape(missing)}: no such file"):
        check_partition(RunConfig(partition=missing), SELECTION)
    (tmp_path / "no.csv").touch()
    check_partition(RunConfig(partition=missing), SELECTION)
    with pytest.raises(ConfigError, match="--skew is 'hum'"):
        check_partition(RunConfig(skew="hum"), SELECTION)
    assert {"iid", "natural", "file:PATH"} <= set(partition_names())


def test_a_site_that_will_not_exist_cannot_be_held_out(tmp_path):
    config = RunConfig(clients=3)
    for known in ("", "one", "site-3"):
        check_partition(config, replace(SELECTION, holdout=known))
    with pytest.raises(ConfigError, match="--holdout is 'site-4'"):
        check_partition(config, replace(SELECTION, holdout="site-4"))
    # A file may have sites of any name.
    (tmp_path / "p.csv").touch()
    with_file = RunConfig(clients=3, partition=f"file:{tmp_path / 'p.csv'}")
    check_partition(with_file, replace(SELECTION, holdout="site-4"))


def test_sites_are_shared_by_recordings_and_not_by_examples():
    cut_from_few = [f"recording-{i % 16}" for i in range(100)]
    shards = [source("one", 100, recordings=cut_from_few), source("two", 36)]
    selection = replace(SELECTION, sites={"one": None, "two": None})
    partition = make_partition(
        RunConfig(clients=7, partition="iid"), selection, Cohort.of(RHYTHM, shards)
    )
    # The roots of 16 and 36 recordings: 4 to 6, so that each has one and five are shared 2 to 3.
    assert set(partition.site[:100].tolist()) == {CENTRAL, "site-1", "site-2", "site-3"}
    assert len(partition.sites) == 7


def test_natural_sites_are_no_more_than_the_devices():
    devices = [f"device-{i % 2}" for i in range(60)]
    shards = [source("one", 60, groups=devices), source("two", 60, groups=np.arange(60) // 5)]
    selection = replace(SELECTION, sites={"one": None, "two": None})
    cohort = Cohort.of(RHYTHM, shards)
    config = RunConfig(clients=8, partition="natural")
    partition = make_partition(config, selection, cohort)
    assert set(partition.site[:60].tolist()) == {CENTRAL, "site-1", "site-2"}
    # Only natural sites are bound to devices.
    partition = make_partition(RunConfig(clients=8, partition="iid"), selection, cohort)
    assert set(partition.site[:60].tolist()) == {CENTRAL, *(f"site-{i}" for i in range(1, 5))}


def test_a_saved_partition_is_used_with_the_holdout_that_is_asked_for(tmp_path):
    cohort = two_sources()
    write_partition(
        tmp_path / "p.csv", cohort, deal(cohort, {"one": 2, "two": 1}, "iid", 0.5, seed=0)
    )
    config = RunConfig(clients=3, partition=f"file:{tmp_path / 'p.csv'}")
    partition = make_partition(config, replace(SELECTION, holdout="site-2"), cohort)
    assert partition.sites == ["site-1", "site-3"]
    assert (partition.site == UNSEEN).any()
