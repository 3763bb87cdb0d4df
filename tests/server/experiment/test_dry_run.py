"""A dry run shows sites where they can be had soon, and says what is missing where they cannot."""

import io

import pytest
from rich.console import Console

from clients.training_plan import training_plan
from fl.config.run_config import RunConfig
from fl.config.run_options import RunOptions
from fl.datasets.source_selection import select_sources
from server.experiment import dry_run as module
from server.experiment.dry_run import dry_run, settings_lines
from server.experiment.estimate import Speed

CONFIG = RunConfig(
    data="synthetic", synthetic_records=60, clients=3, partition="patients", seeds="1,2"
)


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """What a dry run prints that preprocesses for at most so many seconds."""
    monkeypatch.setattr(module, "measure_speed", lambda config, plan: Speed(step=0.5, crop=0.0))

    def run(short, **settings):
        config = CONFIG.model_copy(update=settings)
        monkeypatch.setattr(module, "SHORT", short)
        text = io.StringIO()
        console = Console(file=text, width=200)
        options = RunOptions(cache_dir=tmp_path / "cache", quiet=True)
        plan = training_plan(config, "site-1", 1)
        dry_run(config, options, select_sources(config), plan, console)
        return text.getvalue()

    return run


def test_recordings_that_take_long_to_preprocess_are_left_alone(shown, tmp_path):
    text = shown(short=0.0)
    assert "Source synthetic: 60 records\n" in text
    assert "Sites: 3. They can be shown once the recordings are preprocessed" in text
    assert "20 rounds of fedavg, each with 2 seeds" in text
    assert not (tmp_path / "cache").exists()


def test_recordings_that_are_preprocessed_are_never_too_many(shown):
    shown(short=60.0)
    text = shown(short=1e-9)
    assert "Source synthetic: 60 records of 57 patients, 0 left out" in text
    assert " site-3 " in text


def test_folds_are_explained_and_all_of_them_are_in_the_time(shown):
    text = shown(short=60.0, site_folds=5)
    assert "each with 2 seeds, once for each of 5 folds" in text
    assert "5 folds: each patient of a site is tested once" in text


def test_settings_are_lines_of_a_toml_file_and_those_that_differ_are_marked():
    lines = settings_lines(CONFIG)
    assert 'seeds = "1,2"  # not the default' in lines
    assert "mu = 1.0" in lines
    assert (
        lines.index("# data")
        < lines.index("# sites")
        < lines.index("clients = 3  # not the default")
    )
