"""Symbolic links to files and folders are followed, and the cache sees what they point to."""

import numpy as np
import pytest
from support.small_records import challenge, edit, waves, write

from fl.data.content_digest import content_digest
from fl.data.example_cache import find_prepared, prepare
from fl.datasets.cpsc2018 import CPSC2018
from fl.datasets.data_report import check
from fl.datasets.own_folder import parse_source
from fl.datasets.record_discovery import data_files, record_stems, unfollowed_links
from fl.ecg.records import LEADS
from fl.ecg.tasks import RHYTHM


@pytest.fixture
def root(tmp_path):
    """A data folder whose cpsc2018 has one record, and links to a folder and to files elsewhere."""
    challenge(tmp_path / "data" / "cpsc2018", "A0001")
    challenge(tmp_path / "archive", "A0002", seed=2)
    challenge(tmp_path / "other", "A0003", seed=3)
    (tmp_path / "data" / "cpsc2018" / "more").symlink_to(tmp_path / "archive")
    for suffix in (".hea", ".mat"):
        link = tmp_path / "data" / "cpsc2018" / f"A0003{suffix}"
        link.symlink_to(tmp_path / "other" / f"A0003{suffix}")
    return tmp_path / "data"


def rewrite(stem, seed):
    """Another signal of the same size in the place of a record's."""
    challenge(stem.parent, stem.name, seed=seed)


def test_records_behind_links_are_read(root):
    report = check([CPSC2018], root).sources[0]
    assert (report.records, report.usable, report.unfollowed_links) == (3, 3, [])


@pytest.mark.parametrize("record", ["archive/A0002", "other/A0003"])
def test_an_edited_signal_behind_a_link_is_not_served_from_the_cache(root, tmp_path, record):
    cache = tmp_path / "cache"
    before = prepare(CPSC2018, root, RHYTHM, cache)
    assert find_prepared(CPSC2018, root, RHYTHM, cache) == before
    rewrite(tmp_path / record, seed=9)
    assert find_prepared(CPSC2018, root, RHYTHM, cache) is None
    after = prepare(CPSC2018, root, RHYTHM, cache)
    assert after != before
    assert not np.array_equal(np.load(after / "signals.npy"), np.load(before / "signals.npy"))


def test_a_link_that_leads_to_other_files_changes_the_digest(root, tmp_path):
    before = content_digest(CPSC2018, root, tmp_path)
    challenge(tmp_path / "new", "A0002", seed=7)
    link = root / "cpsc2018" / "more"
    link.unlink()
    link.symlink_to(tmp_path / "new")
    assert content_digest(CPSC2018, root, tmp_path) != before


def test_loops_and_links_that_lead_nowhere_are_named_and_end(root, tmp_path):
    folder = root / "cpsc2018"
    (folder / "loop").symlink_to(folder)
    (tmp_path / "archive" / "up").symlink_to(tmp_path / "data")
    (folder / "gone").symlink_to(tmp_path / "no such folder")
    (folder / "again").symlink_to(tmp_path / "archive")
    assert set(record_stems(folder)) == {"A0001", "A0002", "A0003"}
    report = check([CPSC2018], root)
    assert set(report.sources[0].unfollowed_links) == {"loop", "gone", "more", "again/up"}
    shown = " ".join(str(cell) for t in report.tables() for c in t.columns for cell in c.cells)
    assert "loop" in shown


def test_a_record_whose_file_is_a_link_to_nothing_has_a_verdict(root, tmp_path):
    (tmp_path / "other" / "A0003.mat").unlink()
    report = check([CPSC2018], root).sources[0]
    assert report.unusable == {"missing-file": ["A0003"]}
    assert report.details["A0003"] == "A0003.mat is a link to a file that does not exist"
    assert unfollowed_links(root / "cpsc2018") == []


def test_an_own_folder_sees_labels_and_signals_behind_links(tmp_path):
    write(tmp_path / "archive", "e1")
    own = tmp_path / "own"
    own.mkdir()
    (own / "2024").symlink_to(tmp_path / "archive")
    (tmp_path / "table.csv").write_text("record,patient,labels\n2024/e1,p1,RBBB\n")
    (own / "labels.csv").symlink_to(tmp_path / "table.csv")
    (tmp_path / "cache").mkdir()
    source = parse_source(f"own={own}")
    record = source.read(tmp_path, "2024/e1")
    assert record.leads == LEADS
    digests = [content_digest(source, tmp_path, tmp_path / "cache")]
    edit(tmp_path / "table.csv", "RBBB", "LBBB")
    digests.append(content_digest(source, tmp_path, tmp_path / "cache"))
    write(tmp_path / "archive", "e1", signal=waves(12, 4000, seed=5))
    digests.append(content_digest(source, tmp_path, tmp_path / "cache"))
    assert len(set(digests)) == 3


def test_files_with_capital_suffixes_are_found_and_seen_by_the_digest(tmp_path):
    stem = challenge(tmp_path / "cpsc2018", "A0001")
    stem.with_suffix(".hea").rename(stem.with_suffix(".HEA"))
    stem.with_suffix(".mat").rename(stem.with_suffix(".MAT"))
    names = [path.name for path in data_files(tmp_path / "cpsc2018")]
    assert names == ["A0001.HEA", "A0001.MAT"]
    report = check([CPSC2018], tmp_path).sources[0]
    assert (report.records, report.usable) == (1, 1)
