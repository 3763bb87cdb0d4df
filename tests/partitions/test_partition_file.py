"""Which examples a site has, and what a message about partition.csv names."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.made_cohorts import made_cohort

from fl.util.errors import ConfigError, DataError
from partitions.partition import (
    CENTRAL,
    UNSEEN,
    Partition,
    load_partition,
    read_partition,
    write_partition,
)

PATIENTS = ["a", "a", "b", "b", "c", "d"]
LABELS = [[0], [], [1], [0, 1], [], []]
COHORT = made_cohort(PATIENTS, LABELS)


def partition_of(*places):
    """A partition from `site/split` of each example."""
    site, split = np.array([place.split("/") for place in places]).T
    return Partition(site, split)


GOOD = partition_of(
    "site-1/train", "site-1/train", "site-1/val", "site-1/val", "site-2/test", "central/test"
)


def saved(folder, partition=GOOD):
    write_partition(folder / "p.csv", COHORT, partition)
    return folder / "p.csv"


def test_rows_are_those_of_the_site_and_of_the_split():
    assert GOOD.rows("site-1", "train").tolist() == [0, 1]
    assert GOOD.rows("site-2", "test").tolist() == [4]
    assert GOOD.rows("site-2", "train").tolist() == []


@given(st.lists(st.sampled_from(["a", "b", "central"]), max_size=8), st.randoms())
def test_the_rows_of_a_site_are_where_its_name_stands(sites, random):
    site = np.array(sites, dtype="U7")
    split = np.array([random.choice(["train", "test"]) for _ in sites], dtype="U5")
    partition = Partition(site, split)
    for name in ("a", "b", "central", "nobody"):
        expected = np.flatnonzero((site == name) & (split == "test"))
        assert partition.rows(name, "test").tolist() == expected.tolist()
    assert partition.sites == sorted(set(sites) - {"central"})


def test_central_and_unseen_are_no_sites():
    assert partition_of("b/train", "unseen/test", "central/test", "a/val").sites == ["a", "b"]


def test_a_line_names_all_that_is_known_of_an_example(tmp_path):
    lines = saved(tmp_path).read_text().splitlines()
    classes = COHORT.task.classes
    assert lines[4] == f"made-up,R003,made-up:b,site-1,val,{classes[0]}|{classes[1]}"
    assert lines[6] == "made-up,R005,made-up:d,central,test,"


def test_a_good_file_is_loaded(tmp_path):
    loaded = load_partition(saved(tmp_path), COHORT, clients=2)
    assert loaded.site.tolist() == GOOD.site.tolist()
    assert loaded.split.tolist() == GOOD.split.tolist()


def test_the_order_of_the_lines_does_not_matter(tmp_path):
    path = saved(tmp_path)
    first, *others = path.read_text().splitlines()
    path.write_text("\n".join([first, *others[::-1]]))
    assert read_partition(path, COHORT).site.tolist() == GOOD.site.tolist()


def test_a_record_that_is_named_twice_is_an_error_in_any_order(tmp_path):
    twice = COHORT.take(np.array([0, 0]))
    write_partition(tmp_path / "p.csv", twice, partition_of("a/train", "b/train"))
    with pytest.raises(DataError, match="names a record twice"):
        read_partition(tmp_path / "p.csv", twice)


def test_the_partition_of_no_example_is_empty(tmp_path):
    nobody = COHORT.take(np.zeros(0, dtype=np.int64))
    empty = np.zeros(0, dtype="U9")
    write_partition(tmp_path / "p.csv", nobody, Partition(empty, empty))
    assert len(read_partition(tmp_path / "p.csv", nobody).site) == 0


@pytest.mark.parametrize(
    "text", ["", "source,record\n", "source,record,patient,site,split,labels\nmade-up,R000\n"]
)
def test_a_file_with_other_columns_is_no_partition(tmp_path, text):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(
        DataError, match=r"is not a partition. The columns of one are source,record"
    ):
        read_partition(tmp_path / "p.csv", COHORT)


def test_a_file_of_other_data_names_how_many_records_and_the_first_that_differs(tmp_path):
    here = COHORT.take(np.arange(4))
    with pytest.raises(DataError, match=r"\(6 records there, 4 here; made-up/R004 is only in it\)"):
        read_partition(saved(tmp_path), here)


@pytest.mark.parametrize(
    ("patients", "labels", "difference"),
    [
        (["x", *PATIENTS[1:]], LABELS, "R000 has another patient"),
        (PATIENTS, [*LABELS[:3], [0], [], [2]], "R003 has other labels"),
    ],
)
def test_only_what_differs_is_named(tmp_path, patients, labels, difference):
    with pytest.raises(DataError, match=rf"\(6 records there, 6 here; made-up/{difference}\)"):
        read_partition(saved(tmp_path), made_cohort(patients, labels))


@pytest.mark.parametrize(
    ("place", "accepted"),
    [
        ("central/train", "test"),
        ("unseen/val", "test"),
        ("site-2/all", "train, val, test"),
        ("site 2/test", "train, val, test"),
    ],
)
def test_a_split_or_a_name_that_cannot_be_is_named_with_what_can(tmp_path, place, accepted):
    wrong = partition_of(*["site-1/train"] * 5, place)
    with pytest.raises(DataError, match=rf"a split there is one of {accepted}\."):
        load_partition(saved(tmp_path, wrong), COHORT, clients=1)


@pytest.mark.parametrize("place", [CENTRAL, UNSEEN])
def test_central_and_unseen_examples_are_tested(tmp_path, place):
    path = saved(tmp_path, partition_of(*["site-1/train"] * 5, f"{place}/test"))
    assert load_partition(path, COHORT, clients=1).sites == ["site-1"]


def test_divided_patients_are_counted_and_a_record_of_the_first_is_named(tmp_path):
    divided = ["site-1/train", "site-2/train", "site-1/val", "site-1/test", *["site-1/train"] * 2]
    with pytest.raises(DataError, match=r"2 patients .*, the first with record R000\."):
        load_partition(saved(tmp_path, partition_of(*divided)), COHORT, clients=2)
    divided[:2] = ["site-2/train"] * 2
    with pytest.raises(DataError, match=r"1 patients .*, the first with record R002\."):
        load_partition(saved(tmp_path, partition_of(*divided)), COHORT, clients=2)


@pytest.mark.parametrize("clients", [1, 3])
def test_another_number_of_sites_is_the_users_mistake(tmp_path, clients):
    with pytest.raises(ConfigError, match=rf"--clients is {clients}, .* has 2 sites. Use --cli"):
        load_partition(saved(tmp_path), COHORT, clients)


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot be read \(No such file or directory\)"):
        load_partition(tmp_path / "none.csv", COHORT, clients=2)
    (tmp_path / "p.csv").write_bytes(b"PK\3\4\xff")
    with pytest.raises(DataError, match=r"it is an Excel or zip file.* Save it as UTF-8 CSV"):
        load_partition(tmp_path / "p.csv", COHORT, clients=2)
