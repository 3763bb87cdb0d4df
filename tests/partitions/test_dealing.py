"""Patients are kept together, central patients go to no site, and the file restores all of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl.data.cohort import Cohort
from fl.data.example_cache import prepare
from fl.data.shards import open_shard
from fl.datasets import DATASETS
from fl.datasets.mitdb import DS1, DS2, PACED
from fl.ecg.labels import BEAT_CLASSES
from fl.ecg.tasks import BEAT, RHYTHM, RHYTHM_SIGNAL
from fl.util.errors import ConfigError, DataError
from partitions.dealing import deal, hold_out, share_sites, site_names
from partitions.partition import (
    CENTRAL,
    UNSEEN,
    label_text,
    load_partition,
    read_partition,
    write_partition,
)
from partitions.patients import count_groups
from partitions.schemes import PARTITIONERS
from partitions.summary import site_rows, unmeasurable

EVEN = {"synthetic": 3, "synthetic-2lead": 2}


def table(cohort, patients, source="made-up", task=None):
    """A cohort with these patients, one record each, for tests that read no signal."""
    n = len(patients)
    names = np.array([f"R{i:03d}" for i in range(n)])
    labels = np.eye(9, dtype=np.int8)[np.arange(n) % 9]
    shard = replace(
        cohort.shards[0],
        source=source,
        names=names,
        recordings=names,
        patients=np.array(patients),
        groups=np.array([f"device-{patient[-1]}" for patient in patients]),
        labels=labels[:, : len((task or RHYTHM).classes)],
    )
    return Cohort.of(task or RHYTHM, [shard])


def sites_and_splits(cohort, partition):
    """The (site, split) pairs of each patient; one pair if the patient is kept together."""
    pairs: dict[str, set[tuple[str, str]]] = {}
    rows = zip(cohort.patients, partition.site, partition.split, strict=True)
    for patient, site, split in rows:
        pairs.setdefault(str(patient), set()).add((str(site), str(split)))
    return pairs


@pytest.mark.parametrize("scheme", PARTITIONERS)
@given(patients=st.lists(st.integers(0, 25).map("P{:02d}".format), min_size=30, max_size=60))
def test_no_patient_is_at_two_sites_or_in_two_splits(cohort, scheme, patients):
    made = table(cohort, [f"P{i:02d}" for i in range(26)] + patients)
    partition = deal(made, {"made-up": 3}, scheme, alpha=0.3, seed=0)
    assert all(len(pairs) == 1 for pairs in sites_and_splits(made, partition).values())
    assert partition.sites == [f"site-{i}" for i in (1, 2, 3)]
    assert (partition.site == CENTRAL).any()
    for site in partition.sites:
        assert len(partition.rows(site, "train"))


def test_a_site_has_one_source_and_sites_are_numbered_in_order(cohort):
    partition = deal(cohort, EVEN, "dirichlet", 0.5, seed=0)
    sources = [set(cohort.sources[partition.site == s].tolist()) for s in partition.sites]
    assert sources == [{"synthetic"}] * 3 + [{"synthetic-2lead"}] * 2


def test_every_source_has_central_patients_of_about_15_percent(cohort):
    partition = deal(cohort, EVEN, "patients", 0.5, seed=0)
    for source in EVEN:
        share = (partition.site[cohort.sources == source] == CENTRAL).mean()
        assert 0.1 < share < 0.25


def test_the_held_out_source_is_unseen_and_only_tested(cohort):
    partition = deal(cohort, {"synthetic": 3}, "patients", 0.5, seed=0, holdout="synthetic-2lead")
    unseen = partition.site == UNSEEN
    assert (unseen == (cohort.sources == "synthetic-2lead")).all()
    assert set(partition.split[unseen].tolist()) == {"test"}
    assert UNSEEN not in partition.sites


def test_central_patients_do_not_depend_on_the_number_of_sites_or_the_scheme(cohort):
    central = [
        deal(cohort, sites, scheme, alpha, seed=4).site == CENTRAL
        for sites, scheme, alpha in [
            (EVEN, "patients", 0.5),
            ({"synthetic": 6, "synthetic-2lead": 1}, "dirichlet", 0.1),
        ]
    ]
    assert (central[0] == central[1]).all()


def test_another_seed_deals_differently(cohort):
    first, second = (deal(cohort, EVEN, "patients", 0.5, seed).site for seed in (0, 1))
    assert (first != second).any()


def test_the_file_gives_the_partition_back(cohort, tmp_path):
    partition = deal(cohort, EVEN, "dirichlet", 0.5, seed=0)
    write_partition(tmp_path / "partition.csv", cohort, partition)
    found = read_partition(tmp_path / "partition.csv", cohort)
    assert found.site.tolist() == partition.site.tolist()
    assert found.split.tolist() == partition.split.tolist()
    lines = (tmp_path / "partition.csv").read_text().splitlines()
    assert lines[0] == "source,record,patient,site,split,labels"
    assert len(lines) == len(cohort) + 1


def test_a_partition_of_other_data_is_refused(cohort, tmp_path):
    partition = deal(cohort, EVEN, "patients", 0.5, seed=0)
    write_partition(tmp_path / "partition.csv", cohort, partition)
    with pytest.raises(DataError, match="made from other data"):
        read_partition(tmp_path / "partition.csv", cohort.take(np.arange(10)))
    with pytest.raises(DataError, match=r"made-up/R000 is not in it"):
        read_partition(tmp_path / "partition.csv", table(cohort, ["P1"] * len(cohort)))


def test_a_saved_partition_can_be_used_again(cohort, tmp_path):
    partition = hold_out(deal(cohort, EVEN, "pathological", 0.5, seed=0), cohort, "site-2")
    write_partition(tmp_path / "p.csv", cohort, partition)
    found = load_partition(tmp_path / "p.csv", cohort, clients=4)
    assert found.site.tolist() == partition.site.tolist()
    assert found.split.tolist() == partition.split.tolist()


@pytest.fixture
def saved(cohort, tmp_path):
    """A saved partition of five sites, as a path and its lines."""
    path = tmp_path / "p.csv"
    write_partition(path, cohort, deal(cohort, EVEN, "patients", 0.5, seed=0))
    return path, path.read_text().splitlines()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (2, "somebody", "S00001 has another patient"),
        (5, "", "S00001 has other labels"),
        (1, "S99999", "S00001 is not in it, synthetic/S99999 is only in it"),
        (1, "S00002", "names a record twice"),
        (3, "../elsewhere", "site '../elsewhere', split '.*'. A site's name has letters"),
        (4, "dev", "split 'dev'. .* is one of .*test"),
    ],
)
def test_a_changed_file_is_refused_with_what_is_changed(cohort, saved, field, value, message):
    path, lines = saved
    row = lines[1].split(",")
    row[field] = value
    path.write_text("\n".join([lines[0], ",".join(row), *lines[2:]]))
    with pytest.raises(DataError, match=message):
        load_partition(path, cohort, clients=5)


def test_a_file_that_divides_a_patient_is_refused(cohort, saved):
    path, lines = saved
    rows = [line.split(",") for line in lines]
    patients = [row[2] for row in rows]
    repeated = next(i for i, patient in enumerate(patients) if patients.count(patient) > 1)
    rows[repeated][3:5] = ["site-9", "train"]
    path.write_text("\n".join(map(",".join, rows)))
    with pytest.raises(DataError, match="1 patients are at two sites or in two splits"):
        load_partition(path, cohort, clients=6)


def test_a_file_of_another_number_of_sites_or_no_file_is_the_users_mistake(cohort, saved):
    path, _ = saved
    with pytest.raises(ConfigError, match=r"--clients is 8, but .* has 5 sites. Use --clients 5"):
        load_partition(path, cohort, clients=8)
    with pytest.raises(ConfigError, match=r"--partition file:nowhere.csv: cannot be read"):
        load_partition(Path("nowhere.csv"), cohort, clients=8)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(
        DataError, match=r"is not a partition. The columns of one are source,record"
    ):
        load_partition(path, cohort, clients=8)


def test_a_site_held_out_is_unseen_and_nothing_else_changes(cohort):
    whole = deal(cohort, EVEN, "patients", 0.5, seed=0)
    partition = deal(cohort, EVEN, "patients", 0.5, seed=0, holdout="site-3")
    unseen = whole.site == "site-3"
    assert (partition.site[unseen] == UNSEEN).all()
    assert (partition.split[unseen] == "test").all()
    assert (partition.site[~unseen] == whole.site[~unseen]).all()
    assert partition.sites == ["site-1", "site-2", "site-4", "site-5"]


def test_a_holdout_that_does_not_exist_or_leaves_no_site_is_the_users_mistake(cohort):
    partition = deal(cohort, {"synthetic": 1, "synthetic-2lead": 1}, "iid", 0.5, seed=0)
    with pytest.raises(ConfigError, match=r"'site-7'. Accepted: a source or .*site-1, site-2"):
        hold_out(partition, cohort, "site-7")
    with pytest.raises(ConfigError, match="no site is left to train on"):
        hold_out(hold_out(partition, cohort, "site-1"), cohort, "site-2")


def test_names_of_sites_sort_in_their_order():
    assert site_names(2) == ["site-1", "site-2"]
    assert site_names(10) == sorted(site_names(10))


def test_natural_sites_are_as_many_as_the_groups_allow():
    most = {"a": 1, "b": 9}
    assert share_sites({"a": None, "b": None}, {"a": 900, "b": 90}, 6, most) == {"a": 1, "b": 5}
    for sources, clients in (({"a": None, "b": None}, 11), ({"a": 2, "b": None}, 4)):
        with pytest.raises(ConfigError, match=r"the sources have: a 1, b 9. Use --clients 10"):
            share_sites(sources, {"a": 1, "b": 1}, clients, most)


def test_natural_sites_of_the_synthetic_cohort_keep_recorders_whole(cohort):
    most = count_groups(cohort, EVEN, seed=0)
    assert most == {"synthetic": 6, "synthetic-2lead": 6}
    partition = deal(cohort, EVEN, "natural", 0.5, seed=0)
    groups = cohort.column("groups")
    for source in EVEN:
        for device in np.unique(groups):
            rows = (cohort.sources == source) & (groups == device) & (partition.site != CENTRAL)
            assert len(set(partition.site[rows].tolist())) == 1


@pytest.mark.real
def test_real_recorders_become_sites(real_data, cache_dir):
    if not DATASETS["mitdb"].exists(real_data):
        pytest.skip("$ECG_DATA has no mitdb")
    path = prepare(DATASETS["mitdb"], real_data, RHYTHM_SIGNAL, cache_dir, workers=2)
    cohort = Cohort.open(RHYTHM_SIGNAL, [path])
    n = count_groups(cohort, ["mitdb"], seed=0)["mitdb"]
    partition = deal(cohort, {"mitdb": n}, "natural", 0.5, seed=0)
    rows = [row for row in site_rows(cohort, partition) if row["site"] != CENTRAL]
    assert n >= 6
    assert all(len(row["groups"]) <= 1 for row in rows)
    serials = {"654", "1629", "694", "167", "2851", "3655", "653", "171", "356"}
    assert {row["groups"][0] for row in rows if row["groups"]} <= serials


def test_labels_are_written_as_names():
    assert label_text(np.array([0, 1, -1, 0, 1]), tuple("abcde")) == "b|e"
    assert label_text(np.array([0, -1]), tuple("ab")) == ""


def test_the_summary_counts_every_example_once(cohort):
    partition = deal(cohort, EVEN, "patients", 0.5, seed=0)
    rows = site_rows(cohort, partition)
    assert [row["site"] for row in rows] == [*partition.sites, CENTRAL]
    assert sum(row[s] for row in rows for s in ("train", "val", "test")) == len(cohort)
    assert sum(row["patients"] for row in rows) == len(set(cohort.patients.tolist()))
    central = next(row for row in rows if row["site"] == CENTRAL)
    not_shown = [c for c, n in central["labels"].items() if n == 0]
    assert list(unmeasurable(cohort, partition)) == not_shown


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 10_000), min_size=1),
    st.integers(0, 40),
)
def test_every_source_gets_a_site_and_all_sites_are_assigned(recordings, more):
    clients = len(recordings) + more
    shares = share_sites(dict.fromkeys(recordings), recordings, clients)
    assert list(shares) == list(recordings)
    assert sum(shares.values()) == clients
    assert min(shares.values()) >= 1
    by_size = sorted(recordings, key=lambda name: (recordings[name], shares[name]))
    assert [shares[name] for name in by_size] == sorted(shares.values())


def test_numbers_that_the_user_fixed_are_kept():
    recordings = {"a": 10, "b": 1000, "c": 1000}
    assert share_sites({"a": 5, "b": None, "c": None}, recordings, 9) == {"a": 5, "b": 2, "c": 2}
    assert share_sites({"a": 5, "b": 3}, recordings, 8) == {"a": 5, "b": 3}


@pytest.mark.parametrize(
    ("sources", "clients"),
    [({"a": None, "b": None}, 1), ({"a": 5, "b": None}, 5), ({"a": 5}, 8), ({"a": 5, "b": 4}, 8)],
)
def test_numbers_that_do_not_add_up_are_the_users_mistake(sources, clients):
    with pytest.raises(ConfigError, match=f"--clients is {clients}"):
        share_sites(sources, {"a": 10, "b": 10}, clients)


def assert_ds2_is_central(cohort):
    """The patients of DS2 are central, and no others."""
    partition = deal(cohort, {"mitdb": 3}, "patients", 0.5, seed=0)
    recordings = cohort.column("recordings")
    central = set(recordings[partition.site == CENTRAL].tolist())
    assert central == {*DS2, "201"}
    assert all(len(pairs) == 1 for pairs in sites_and_splits(cohort, partition).values())
    assert set(recordings.tolist()) - central == {*DS1} - {"201"}


def test_201_and_202_are_one_patient_whose_beats_no_site_trains_on(cohort):
    recordings = np.array(sorted({*DS1, *DS2}))
    patients = np.where(recordings == "202", "201", recordings)
    made = table(cohort, patients, source="mitdb", task=BEAT)
    shard = replace(made.shards[0], recordings=recordings)
    assert_ds2_is_central(Cohort.of(BEAT, [shard]))


@pytest.fixture(scope="module")
def mitdb_beats(real_data, cache_dir):
    if not DATASETS["mitdb"].exists(real_data):
        pytest.skip("$ECG_DATA has no mitdb")
    return prepare(DATASETS["mitdb"], real_data, BEAT, cache_dir, workers=2)


@pytest.mark.real
def test_real_ds2_is_central_and_201_with_it(mitdb_beats):
    assert_ds2_is_central(Cohort.open(BEAT, [mitdb_beats]))


@pytest.mark.real
def test_real_beats_are_as_many_as_the_protocol_says(mitdb_beats):
    shard = open_shard(mitdb_beats)
    per_class = dict(zip(BEAT_CLASSES, (shard.labels == 1).sum(axis=0).tolist(), strict=True))
    assert per_class["S"] == 2781
    assert (shard.labels == 1).sum() == 100_733
    assert np.isin(shard.recordings, DS1).sum() == 51_021
    assert shard.excluded == {"paced": list(PACED)}
    fusion = {r: int((shard.labels[shard.recordings == r, 3] == 1).sum()) for r in ("208", "213")}
    assert fusion == {"208": 373, "213": 362}
    assert shard.labels[np.isin(shard.recordings, DS1), 4].sum() == 8


@pytest.mark.real
@pytest.mark.parametrize(("name", "records"), [("cpsc2018", 150), ("cpsc2018-lead1", 1329)])
def test_real_recordings_are_as_many_as_the_folder_holds(real_data, cache_dir, name, records):
    source = DATASETS[name]
    if not source.exists(real_data):
        pytest.skip(f"$ECG_DATA has no {name}")
    shard = open_shard(prepare(source, real_data, RHYTHM_SIGNAL, cache_dir, workers=2))
    assert len(source.record_names(real_data)) == records
    assert len(shard.names) + sum(map(len, shard.excluded.values())) == records
