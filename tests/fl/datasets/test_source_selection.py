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


@pytest.mark.parametrize("task", ["beat", "beat-causal", "beat-xqrs", "beat-gqrs"])
@pytest.mark.parametrize(
    ("folders", "used"),
    [
        (["incart", "mitdb", "svdb", "cpsc2018"], ["mitdb", "svdb", "incart"]),
        (["svdb", "ptbxl"], ["svdb"]),
        (["incartdb"], ["incart"]),
    ],
)
def test_the_beat_tasks_use_the_beat_databases_that_exist(tmp_path, task, folders, used):
    for name in folders:
        (tmp_path / name).mkdir()
    assert list(select(tmp_path, task=task).sources) == used


def test_pictures_of_beats_are_of_mitdb_alone_by_default(tmp_path):
    for name in ("incart", "mitdb", "svdb"):
        (tmp_path / name).mkdir()
    assert list(select(tmp_path, task="beat7").sources) == ["mitdb"]
    own = select(tmp_path, task="beat7", sources=f"mysite={tmp_path}")
    assert list(own.sources) == ["mysite"]


@pytest.mark.parametrize(("name", "why"), [("svdb", "its N stands for"), ("incart", "no L and")])
def test_a_database_without_the_seven_classes_is_a_mistake_under_that_task(tmp_path, name, why):
    (tmp_path / name).mkdir()
    with pytest.raises(ConfigError, match=f"{name} cannot be used for --task beat7: .*{why}"):
        select(tmp_path, task="beat7", sources=name)


@pytest.mark.parametrize(
    "settings",
    [{"sources": "svdb"}, {"sources": "cpsc2018,incart=2"}, {"holdout": "svdb"}],
)
def test_a_source_of_beats_alone_is_a_mistake_under_the_rhythm_task(tmp_path, settings):
    for name in ("svdb", "incart", "cpsc2018"):
        (tmp_path / name).mkdir()
    with pytest.raises(ConfigError, match=r"no class of --task rhythm\. Leave it out, or choose"):
        select(tmp_path, **settings)
    select(tmp_path, task="beat", **settings | {"sources": "incart,svdb"})


def test_an_own_folder_needs_a_table_for_the_rhythm_task_alone(tmp_path):
    sources = f"mysite={tmp_path}"
    with pytest.raises(ConfigError, match=r"Give it a labels\.csv"):
        select(tmp_path, sources=sources)
    assert list(select(tmp_path, sources=sources, task="beat").sources) == ["mysite"]


def test_the_beat_task_names_what_can_be_downloaded(tmp_path):
    with pytest.raises(
        ConfigError, match=r"none of mitdb, svdb, incart\..*download mitdb svdb inc"
    ):
        select(tmp_path, task="beat", data="real")


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
        ({"data": "real"}, "python -m fl.datasets download cpsc2018 mitdb"),
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
