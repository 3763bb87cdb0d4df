"""What is sent to a machine of a cluster, and what comes back from it."""

from pathlib import Path

import pytest
from flwr.app import ArrayRecord

from fl.data.example_cache import is_complete
from fl.messages.flower_codec import evaluation_request, site_info_request, training_request
from fl.util.errors import DataError
from server.engines.cluster_files import (
    SITES,
    CacheSender,
    SiteFiles,
    changed_files,
    fetch_folders,
    lay_out,
)
from server.engines.in_process import LocalGrid

ROUNDS = ("000001", "000002", "000003")


@pytest.fixture
def job(make_job):
    """A job of two sites whose first has kept files of three rounds."""
    job = make_job(sites=2)
    LocalGrid(lambda message, context: message, 2)  # without a grid no message can be made
    return job


@pytest.fixture
def site_files(job):
    files = SiteFiles.of_run(Path(job.workspace))
    for kind in ("optimizer", "own"):
        for number in ROUNDS:
            name = f"{files.names[0]}/{job.strategy}/{kind}/{number}.safetensors"
            path = files.folder / SITES / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(number.encode())
    return files


def kinds(files):
    """What was sent, by kind."""
    return {name.split("/")[2]: content.decode() for name, content in files.items()}


def test_a_request_gets_the_last_files_from_before_it(job, site_files):
    train = training_request(job, ArrayRecord(), 1001, 3)
    assert kinds(site_files.needed(train, 0)) == {"optimizer": "000002", "own": "000002"}
    assert site_files.needed(train, 1) == {}
    evaluate = evaluation_request(job, ArrayRecord(), 1001, 3, "val")
    assert kinds(site_files.needed(evaluate, 0)) == {"own": "000003"}
    assert site_files.needed(site_info_request(job, 1001), 0) == {}


def test_what_a_client_wrote_is_kept_and_the_state_of_training_for_two_rounds(job, site_files):
    folder = f"{site_files.names[0]}/{job.strategy}"
    files = {f"{folder}/{kind}/000004.safetensors": b"000004" for kind in ("optimizer", "own")}
    site_files.keep(files)
    left = {
        kind: sorted(p.stem for p in (site_files.folder / SITES / folder / kind).iterdir())
        for kind in ("optimizer", "own")
    }
    assert left == {"optimizer": ["000003", "000004"], "own": [*ROUNDS, "000004"]}


def test_only_new_and_changed_files_are_sent_back(tmp_path):
    (tmp_path / "old").write_bytes(b"of another site")
    before = {"a/same": b"1", "a/changed": b"2"}
    lay_out(tmp_path, before)
    (tmp_path / "a/changed").write_bytes(b"3")
    (tmp_path / "new").write_bytes(b"4")
    assert changed_files(tmp_path, before) == {"a/changed": b"3", "new": b"4"}


def test_a_folder_is_fetched_once_and_whole(shards, tmp_path):
    sender, name = CacheSender(map(str, shards)), shards[0].name
    size = sum(file.stat().st_size for file in shards[0].iterdir())
    assert fetch_folders(tmp_path, [name], sender.read) == size
    assert is_complete(tmp_path / name)
    assert fetch_folders(tmp_path, [name], sender.read) == 0


def test_a_damaged_copy_is_refused_and_removed(shards, tmp_path):
    sender = CacheSender(map(str, shards))

    def damaged(name, file, start):
        return sender.read(name, file, start).replace(b"\x00", b"\x01")

    with pytest.raises(DataError, match="the copy differs from what was sent"):
        fetch_folders(tmp_path, [shards[0].name], damaged)
    assert list(tmp_path.iterdir()) == []
