"""A private run starts from no model that knows its patients: its weights are published."""

import pytest

from fl.config.config_file import load_config
from fl.runs.run_facts import TransferFacts
from fl.runs.run_record import RunRecord
from fl.util.errors import ConfigError
from server.experiment.transfer import record_transfer

PRIVATE = {"dp": "patient", "dp_scope": "head", "init_from": "model.safetensors"}
HEAD = "source,record,patient,site,split,NSR"


def partition(folder, source, patients, split="train"):
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{source},r{patient},{patient},site-1,{split},1" for patient in patients]
    (folder / "partition.csv").write_text("\n".join([HEAD, *lines]) + "\n")


def saved(tmp_path, **changed):
    """The facts of a model in `tmp_path/first`, real and of PTB-XL unless changed."""
    facts = {
        "file": str(tmp_path / "first" / "weights" / "fedavg-best.safetensors"),
        "sha256": "0" * 64,
        "task": "rhythm",
        "model": "cnn1d",
        "strategy": "fedavg",
        "synthetic": False,
        "taken": 1,
        "fresh": (),
        "why_fresh": "",
        "unused": (),
        "freeze": "features",
        "frozen": 1,
        "sources": ("ptbxl",),
    }
    return TransferFacts(**(facts | changed))


def record(tmp_path, settings, patients=("p1", "p2"), synthetic=()):
    folder = tmp_path / "second"
    partition(folder, "cpsc2018", patients)
    return RunRecord.new(folder, load_config(settings), synthetic)


def test_a_model_of_other_sources_is_taken_wherever_its_file_lies(tmp_path):
    made = record(tmp_path, PRIVATE)
    record_transfer(made, saved(tmp_path), load_config(PRIVATE))
    assert made.content["transfer"]["seen_in_training"] == 0
    assert made.content["transfer"]["training_patients"] == 2


def test_a_model_of_the_same_source_needs_its_partition(tmp_path):
    made = record(tmp_path, PRIVATE)
    with pytest.raises(ConfigError, match="it is not known whether this run's patients"):
        record_transfer(made, saved(tmp_path, sources=("cpsc2018",)), load_config(PRIVATE))
    partition(tmp_path / "first", "cpsc2018", ["p8", "p9"])
    record_transfer(made, saved(tmp_path, sources=("cpsc2018",)), load_config(PRIVATE))
    assert made.content["transfer"]["seen_in_training"] == 0


def test_a_model_that_knows_a_patient_is_refused_with_the_number(tmp_path):
    partition(tmp_path / "first", "cpsc2018", ["p2", "p3"])
    made = record(tmp_path, PRIVATE)
    with pytest.raises(ConfigError, match=r"1 of the 2 patients .* Accepted: a model of other"):
        record_transfer(made, saved(tmp_path, sources=("cpsc2018",)), load_config(PRIVATE))


def test_a_model_that_names_no_source_is_not_trusted(tmp_path):
    with pytest.raises(ConfigError, match="it is not known"):
        record_transfer(
            record(tmp_path, PRIVATE), saved(tmp_path, sources=()), load_config(PRIVATE)
        )


def test_what_an_earlier_model_was_trained_on_counts_too(tmp_path):
    partition(tmp_path / "first", "ptbxl", ["p9"])
    before = saved(tmp_path, earlier_sources=("cpsc2018",))
    with pytest.raises(ConfigError, match="started from a model of the same sources"):
        record_transfer(record(tmp_path, PRIVATE), before, load_config(PRIVATE))


def test_without_a_promise_the_number_is_told_and_the_model_taken(tmp_path):
    partition(tmp_path / "first", "cpsc2018", ["p2"])
    settings = {"init_from": "model.safetensors"}
    made = record(tmp_path, settings)
    record_transfer(made, saved(tmp_path, sources=("cpsc2018",)), load_config(settings))
    assert made.content["transfer"]["seen_in_training"] == 1


def test_synthetic_recordings_are_of_nobody_but_real_ones_beside_them_count(tmp_path):
    partition(tmp_path / "first", "cpsc2018", ["p2"])
    model = saved(tmp_path, sources=("cpsc2018",), synthetic=True)
    made = record(tmp_path, PRIVATE, synthetic=("cpsc2018",))
    record_transfer(made, model, load_config(PRIVATE))
    assert made.content["transfer"]["seen_in_training"] == 0
    mixed = record(tmp_path, PRIVATE, synthetic=("synthetic",))
    with pytest.raises(ConfigError, match="1 of the 2 patients"):
        record_transfer(mixed, model, load_config(PRIVATE))
