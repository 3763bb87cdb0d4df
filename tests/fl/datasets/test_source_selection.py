"""Which sources a run uses, and the error if they do not exist."""

import pytest

from fl.config.config_file import load_config
from fl.config.run_config import RunConfig
from fl.datasets.source_selection import select_sources
from fl.util.errors import ConfigError


def select(tmp_path, **settings):
    return select_sources(RunConfig(data_dir=str(tmp_path), **settings))


def test_without_recordings_the_synthetic_cohorts_are_used(tmp_path):
    choice = select(tmp_path)
    assert choice.synthetic == tuple(choice.sources) == ("synthetic", "synthetic-2lead")


def test_existing_recordings_are_used_and_nothing_synthetic(tmp_path):
    (tmp_path / "mitdb").mkdir()
    choice = select(tmp_path)
    assert (list(choice.sources), choice.synthetic) == (["mitdb"], ())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"sources": "synthetic,synthetic-2lead=1"},
        {"sources": "synthetic", "data": "synthetic", "holdout": "synthetic-2lead"},
    ],
)
def test_the_synthetic_cohorts_have_the_runs_size_and_seed(tmp_path, settings):
    sources = select(tmp_path, synthetic_records=60, seed=3, **settings).sources
    assert {n: (s.n_records, s.seed) for n, s in sources.items()} == {
        "synthetic": (60, 3),
        "synthetic-2lead": (30, 3),
    }


def test_a_number_behind_a_source_fixes_its_sites(tmp_path):
    choice = select(tmp_path, sources="synthetic=3, synthetic-2lead")
    assert choice.sites == {"synthetic": 3, "synthetic-2lead": None}


@pytest.mark.parametrize("sources", ["synthetic", "synthetic,synthetic-2lead"])
def test_a_source_held_out_gets_no_site(tmp_path, sources):
    choice = select(tmp_path, sources=sources, holdout="synthetic-2lead")
    assert list(choice.sites) == ["synthetic"]
    assert set(choice.sources) == {"synthetic", "synthetic-2lead"}


def test_a_held_out_folder_has_the_given_name(tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "labels.csv").write_text("record,labels\n")
    choice = select(tmp_path, sources="synthetic", holdout=f"mysite={tmp_path / 'own'}")
    assert (choice.holdout, list(choice.sites)) == ("mysite", ["synthetic"])
    assert set(choice.sources) == {"synthetic", "mysite"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": "real"}, "has none of cpsc2018"),
        ({"sources": "nope"}, "--sources names 'nope'. Known: cpsc2018"),
        ({"sources": "mitdb"}, "mitdb: not found in"),
        ({"sources": "synthetic=0"}, "at least one site"),
        ({"sources": "synthetic", "holdout": "synthetic"}, "no source is left"),
        ({"sources": "synthetic", "data": "real"}, "which is synthetic"),
        ({"sources": "mitdb", "data": "synthetic"}, "which is real"),
    ],
)
def test_a_mistake_is_explained(tmp_path, settings, message):
    with pytest.raises(ConfigError) as error:
        select(tmp_path, **settings)
    assert message in str(error.value)


def test_the_synthetic_cohorts_have_the_given_number_of_patients(tmp_path):
    config = RunConfig(data="synthetic", synthetic_records=60, synthetic_patients=20)
    twelve, two = select_sources(config).sources.values()
    for source, records, patients in ((twelve, 60, 20), (two, 30, 10)):
        names = source.record_names(tmp_path)
        assert len(names) == records
        assert len({source.patient(i).name for i in range(records)}) == patients


def test_more_synthetic_patients_than_recordings_are_refused():
    with pytest.raises(ConfigError, match="--synthetic-patients is 99"):
        load_config({"synthetic_records": 60, "synthetic_patients": 99})
