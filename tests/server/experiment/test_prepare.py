"""Recordings, partition and the table of sites are made in one pass, for a run and without one."""

import pytest

from fl.config.run_config import RunConfig
from fl.datasets.source_selection import select_sources
from fl.runs.run_record import RunRecord
from fl.util.errors import ConfigError
from partitions.partition import read_partition
from server.experiment.prepare import prepare

SETTINGS = {"data": "synthetic", "synthetic_records": 60, "clients": 3, "partition": "patients"}


@pytest.fixture(scope="module")
def config():
    return RunConfig(**SETTINGS, skew="noise", holdout="synthetic-2lead")


@pytest.fixture(scope="module")
def prepared(config):
    return prepare(config, select_sources(config))


def test_everything_that_is_shown_of_the_sites_is_of_the_partition(prepared):
    sites = prepared.partition.sites
    assert [row["site"] for row in prepared.sites] == [*sites, "central", "unseen"]
    for row in prepared.sites[: len(sites)]:
        assert row["train"] == len(prepared.partition.rows(row["site"], "train"))
    assert prepared.devices.keys() == set(sites)
    assert 0 < prepared.non_iid < 1
    assert {entry["source"]: entry["recordings"] for entry in prepared.data} == {
        "synthetic": 60,
        "synthetic-2lead": 30,
    }


def test_the_job_names_the_sites_the_recordings_and_the_run_directory(config, prepared, tmp_path):
    job = prepared.job(config, tmp_path)
    assert (job.n_sites, job.workspace) == (3, str(tmp_path))
    assert job.shards == tuple(entry["cache"] for entry in prepared.data)


def test_nothing_is_written_unless_asked_for(config, prepared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepare(config, select_sources(config))
    assert list(tmp_path.iterdir()) == []
    prepared.write_partition(tmp_path)
    again = read_partition(tmp_path / "partition.csv", prepared.cohort)
    assert again.site.tolist() == prepared.partition.site.tolist()


def test_a_resumed_run_keeps_its_partition_and_refuses_other_recordings(config, prepared, tmp_path):
    record = RunRecord.new(tmp_path, config, ())
    record.update(data=prepared.data)
    prepared.write_partition(tmp_path)
    other = config.model_copy(update={"seed": 9})
    kept = prepare(other, prepared.selection, record=record).partition
    assert kept.site.tolist() == prepared.partition.site.tolist()
    assert prepare(other, prepared.selection).partition.site.tolist() != kept.site.tolist()
    record.update(data=[{**entry, "sha256": "0"} for entry in prepared.data])
    with pytest.raises(ConfigError, match="the recordings of synthetic, synthetic-2lead are not"):
        prepare(config, prepared.selection, record=record)
