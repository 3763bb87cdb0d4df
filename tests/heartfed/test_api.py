"""HeartFed from Python: a run, its results and its model, with what is slow loaded late."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import heartfed
from heartfed import ConfigError, load_model, predict, read_run, simulate

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "data": "synthetic",
    "synthetic_records": 60,
    "clients": 2,
    "rounds": 1,
    "model": "cnn1d",
    "engine": "local",
    "partition": "patients",
    "workers": 1,
    "quiet": True,
    "local_epochs": 1,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return simulate(**SETTINGS, out=str(tmp_path_factory.mktemp("runs")), name="run")


def test_a_run_is_made_and_read_again(folder):
    assert folder.name == "run"
    run = read_run(folder)
    assert (run.task, run.federated) == ("rhythm", ("fedavg",))
    assert run.config["clients"] == 2
    assert (folder / "report" / "index.html").is_file()


def test_its_model_is_loaded_and_applied_to_a_recording(folder, tmp_path, rng):
    model = load_model(str(folder / "weights" / "fedavg-best.safetensors"))
    assert (model.name, model.synthetic) == ("cnn1d", True)
    samples = np.cumsum(rng.normal(0, 0.05, 6000))
    (tmp_path / "ecg.csv").write_text("II\n" + "\n".join(f"{value:.4f}" for value in samples))
    predicted = predict(model, tmp_path / "ecg.csv", fs=500)
    assert predicted.leads == ("II",)
    assert len(predicted.findings) == 1


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"ruonds": 3}, r"ruonds is no setting\. Did you mean rounds\?"),
        ({"rounds": -1}, "--rounds is -1: "),
        ({"data_dir": "/nope"}, "--data-dir is '/nope': no such folder"),
        ({"dry_run": True}, "heartfed simulate --dry-run"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(monkeypatch, settings, wanted):
    monkeypatch.setattr("run_sim.run", lambda config, options: None)
    with pytest.raises(ConfigError, match=wanted):
        simulate(**settings)


def test_a_file_gives_settings_and_an_argument_wins(monkeypatch, tmp_path):
    (tmp_path / "run.toml").write_text("rounds = 9\nclients = 4\n")
    seen = {}

    def run(config, options):
        seen.update(rounds=config.rounds, clients=config.clients, out=options.out)
        return options.out

    monkeypatch.setattr("run_sim.run", run)
    simulate(config=str(tmp_path / "run.toml"), rounds=3, out=str(tmp_path))
    assert seen == {"rounds": 3, "clients": 4, "out": tmp_path}


def test_what_is_slow_is_loaded_late_and_telemetry_is_off():
    code = (
        "import os, sys, heartfed\n"
        "print(os.environ['FLWR_TELEMETRY_ENABLED'], os.environ['RAY_USAGE_STATS_ENABLED'],"
        " *(name for name in ('torch', 'flwr', 'ray', 'pydantic') if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["0", "0"]


def test_what_it_offers_can_be_had_and_nothing_else():
    assert {getattr(heartfed, name).__name__ for name in heartfed.__all__} == set(heartfed.__all__)
    with pytest.raises(AttributeError, match="It has: ConfigError"):
        heartfed.simulat  # noqa: B018
