"""The cache is made once, completely, and again when anything it was made from changes."""

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from fl.data.example_cache import prepare
from fl.data.shards import open_shard
from fl.datasets.synthetic import SYNTHETIC_HOLTER, Synthetic
from fl.ecg.tasks import BEAT, RHYTHM
from fl.util.errors import DataError, UnusableRecord

TINY = replace(SYNTHETIC_HOLTER, n_records=16, seconds=(10.0, 11.0))


@dataclass(frozen=True, kw_only=True)
class OnDisk(Synthetic):
    """A source whose digest depends on a file; every fourth record cannot be used."""

    def files(self, root):
        return sorted(root.glob("*.txt"))

    def read(self, root, name):
        if int(name[1:]) % 4 == 0:
            raise UnusableRecord(name, "truncated", "made so for a test")
        return super().read(root, name)


def contents(path):
    return {file.name: file.read_bytes() for file in sorted(path.iterdir())}


def on_disk(n_records=16):
    return OnDisk(name="on-disk", leads=("II", "V1"), n_records=n_records, seconds=(10.0, 11.0))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return prepare(TINY, Path(), RHYTHM, tmp_path_factory.mktemp("made"))


def prepare_tiny(folder):
    """At module level, so that another process can import it."""
    return contents(prepare(TINY, Path(), RHYTHM, folder))


def test_a_second_call_makes_nothing_again(made):
    before = {file: file.stat().st_mtime_ns for file in made.iterdir()}
    assert prepare(TINY, Path(), RHYTHM, made.parent) == made
    assert {file: file.stat().st_mtime_ns for file in made.iterdir()} == before


def test_nothing_temporary_is_left(made):
    assert [path.name for path in made.parent.iterdir()] == [made.name]
    assert sorted(contents(made)) == ["cache.json", "index.npz", "signals.npy"]


@pytest.mark.parametrize("name", ["cache.json", "index.npz", "signals.npy"])
@pytest.mark.parametrize("damage", ["missing", "cut", "flipped", "empty"])
def test_a_damaged_cache_is_made_again(made, name, damage):
    before, path = contents(made), made / name
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "flipped":
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :])
    else:
        path.write_bytes(data[: len(data) // 2] if damage == "cut" else b"")
    if (name, damage) == ("cache.json", "flipped"):
        path.write_text("[]")  # valid JSON, but not the content of a cache.json
    prepare(TINY, Path(), RHYTHM, made.parent)
    assert contents(made) == before


def test_an_incomplete_folder_is_made_again(made, tmp_path):
    incomplete = tmp_path / made.name
    incomplete.mkdir()
    (incomplete / "signals.npy").write_bytes((made / "signals.npy").read_bytes())
    assert contents(prepare(TINY, Path(), RHYTHM, tmp_path)) == contents(made)


def test_two_processes_at_once_make_one_cache(made, tmp_path):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        first, second = pool.map(prepare_tiny, [tmp_path, tmp_path])
    assert first == second == contents(made)
    assert [path.name for path in tmp_path.iterdir()] == [made.name]


def test_two_workers_give_the_same_bytes_as_one(made, tmp_path):
    assert contents(prepare(TINY, Path(), RHYTHM, tmp_path, workers=2)) == contents(made)


def test_progress_counts_every_record(tmp_path):
    calls = []
    prepare(
        TINY, Path(), RHYTHM, tmp_path, progress=lambda done, total: calls.append((done, total))
    )
    assert calls == [(n, 16) for n in range(1, 17)]


def test_other_content_task_or_source_gives_another_folder(tmp_path):
    file = tmp_path / "data.txt"
    file.write_text("one")
    cache = tmp_path / "cache"
    source = on_disk(4)
    first = prepare(source, tmp_path, RHYTHM, cache)
    assert prepare(source, tmp_path, RHYTHM, cache) == first
    file.write_text("two!")
    paths = {
        first,
        prepare(source, tmp_path, RHYTHM, cache),
        prepare(source, tmp_path, BEAT, cache),
        prepare(replace(source, seed=1), tmp_path, RHYTHM, cache),
    }
    assert len(paths) == 4


def test_a_changed_file_of_the_same_size_is_noticed(tmp_path):
    file = tmp_path / "data.txt"
    digests = set()
    for content in ("one", "two"):
        file.write_text(content)
        path = prepare(on_disk(3), tmp_path, RHYTHM, tmp_path / "cache")
        digests.add(open_shard(path).digest)
    assert len(digests) == 2


def test_records_that_cannot_be_used_are_counted_by_verdict(tmp_path):
    shard = open_shard(prepare(on_disk(), tmp_path, RHYTHM, tmp_path / "cache"))
    assert shard.excluded == {"truncated": ["S00004", "S00008", "S00012", "S00016"]}
    assert len(shard.names) == 12


def test_a_source_without_usable_records_is_an_error_with_the_reasons(tmp_path):
    short = replace(TINY, n_records=3, seconds=(3.0, 4.0))
    with pytest.raises(DataError, match=r"none of 3 records can be used.*too-short: 3"):
        prepare(short, Path(), RHYTHM, tmp_path)
    assert not any(path.is_dir() for path in tmp_path.iterdir())


def test_a_cache_that_cannot_be_read_names_its_folder(tmp_path):
    with pytest.raises(DataError, match="Delete the folder"):
        open_shard(tmp_path)


def test_the_index_points_at_each_signal(made):
    shard = open_shard(made)
    ends = shard.offsets + shard.lengths * shard.lead_mask.sum(axis=1)
    assert ends[:-1].tolist() == shard.offsets[1:].tolist()
    assert ends[-1] == len(shard.signals)
    assert json.loads((made / "cache.json").read_text())["source"] == TINY.name
    assert np.isfinite(shard.signals).all()
