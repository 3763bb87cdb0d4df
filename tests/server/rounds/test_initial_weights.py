"""The weights that a run begins with: which of a saved model are taken, and which is refused."""

from dataclasses import replace

import numpy as np
import pytest
from support.saved_models import describe, save_model

from fl.config.run_config import RunConfig, checked
from fl.ecg.tasks import BEAT, RHYTHM, TASKS
from fl.messages.job import Job
from fl.models import MODELS, parts_of
from fl.models.cnn1d import CNN1D
from fl.runs.run_record import RunRecord
from fl.training.state_dict import INITIAL, fresh_weights, load_weights, save_weights
from fl.util.errors import ConfigError
from server.rounds.initial_weights import (
    initial_weights,
    keep_initial_weights,
    read_origin,
)


def config(path, task="rhythm", model="cnn1d", **settings):
    return RunConfig(task=task, model=model, init_from=str(path), **settings)


def start(settings, folder):
    return initial_weights(Job(config=settings, strategy="fedavg", workspace=str(folder)))


def same(one, other):
    return {name for name in one if name in other and np.array_equal(one[name], other[name])}


def refused(settings):
    with pytest.raises(ConfigError) as found:
        read_origin(settings)
    assert "\n" not in str(found.value)
    assert str(found.value).startswith("--init-from ")
    return str(found.value)


def test_a_model_of_the_same_task_is_taken_whole(tmp_path):
    path = save_model(tmp_path, "cnn1d", "rhythm")
    settings = config(path)
    found = start(settings, tmp_path)
    assert same(found, load_weights(path)) == found.keys()
    facts = read_origin(settings).facts
    assert facts.taken == len(found)
    assert facts.fresh == ()
    assert list(found) == list(fresh_weights(settings))


def test_without_init_from_every_weight_is_drawn_as_before(tmp_path):
    settings = RunConfig(model="cnn1d")
    assert read_origin(settings) is None
    found, fresh = start(settings, tmp_path), fresh_weights(settings)
    assert same(found, fresh) == fresh.keys()


@pytest.fixture
def other_task(monkeypatch):
    """A task of twelve leads that asks for four classes."""
    classes = ("NSR", "AF", "PVC", "other")
    monkeypatch.setitem(TASKS, "other", replace(RHYTHM, name="other", classes=classes))
    return "other"


def test_a_head_of_other_classes_starts_fresh(tmp_path, other_task):
    path = save_model(tmp_path, "cnn1d", other_task)
    settings = config(path)
    found, saved, fresh = start(settings, tmp_path), load_weights(path), fresh_weights(settings)
    head = {"head.weight", "head.bias"}
    assert same(found, saved) == found.keys() - head
    assert head <= same(found, fresh)
    facts = read_origin(settings).facts
    assert set(facts.fresh) == head
    assert facts.why_fresh == "its classes are others"
    assert facts.taken == len(found) - 2
    assert (facts.task, facts.model, facts.frozen) == ("other", "cnn1d", 0)


def test_classes_in_another_order_are_other_classes(tmp_path, monkeypatch):
    classes = (*RHYTHM.classes[1:], RHYTHM.classes[0])
    monkeypatch.setitem(TASKS, "turned", replace(RHYTHM, name="turned", classes=classes))
    facts = read_origin(config(save_model(tmp_path, "cnn1d", "turned"))).facts
    assert set(facts.fresh) == {"head.weight", "head.bias"}


@pytest.mark.parametrize("task", ["rhythm", "other"])
def test_with_frozen_features_the_classifier_starts_fresh(tmp_path, other_task, task):
    path = save_model(tmp_path, "cnn1d", task)
    settings = config(path, freeze="features")
    found, saved, fresh = start(settings, tmp_path), load_weights(path), fresh_weights(settings)
    classifier = set(parts_of("cnn1d", RHYTHM).classifier)
    assert same(found, saved) == found.keys() - classifier
    assert classifier <= same(found, fresh)
    facts = read_origin(settings).facts
    assert set(facts.fresh) == classifier
    assert facts.why_fresh == "--freeze features trains them from the start"
    assert facts.frozen == facts.taken == len(found) - len(classifier)


def test_layers_of_features_that_a_task_has_not_got_are_left(tmp_path, monkeypatch):
    monkeypatch.setitem(TASKS, "plain", replace(BEAT, name="plain", features=()))
    path = save_model(tmp_path, "beat_cnn", "plain")
    facts = read_origin(config(path, "beat", "beat_cnn")).facts
    assert facts.why_fresh == "its features are others"
    assert {name.split(".")[0] for name in facts.fresh} == {"feature_branch", "after_head", "head"}
    path = save_model(tmp_path, "beat_cnn", "beat")
    monkeypatch.setitem(TASKS, "beat", TASKS["plain"])
    monkeypatch.setitem(TASKS, "fuller", BEAT)
    describe(path, "beat_cnn", "fuller")
    save_weights(path, load_weights(path), {"model": "beat_cnn", "task": "fuller"})
    describe(path, "beat_cnn", "fuller")
    facts = read_origin(config(path, "beat", "beat_cnn")).facts
    assert {name.split(".")[0] for name in facts.unused} == {"feature_branch", "after_head"}
    assert set(facts.fresh) == {"head.weight", "head.bias"}


def test_another_network_names_the_first_entry_and_both_shapes(tmp_path):
    path = save_model(tmp_path, "resnet1d", "rhythm")
    error = refused(config(path))
    assert "stem.conv.weight has shape (32, 12, 15) in this network 'resnet1d'" in error
    assert "has shape (56, 12, 5) in --model cnn1d for --task rhythm" in error
    assert "Accepted: weights of --model cnn1d for 12 leads" in error


@pytest.mark.parametrize("freeze", ["none", "features"])
def test_other_leads_and_another_width_are_refused(tmp_path, freeze):
    path = save_model(tmp_path, "cnn1d", "beat")
    assert "(56, 2, 5)" in refused(config(path, freeze=freeze))
    path = save_model(tmp_path, "beat_cnn", "beat")
    assert "(16, 2, 5)" in refused(config(path, "beat", "cnn1d", freeze=freeze))


def test_another_depth_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS, "shallow", CNN1D(depth=4))
    path = save_model(tmp_path, "shallow", "rhythm")
    assert "body.4.convs.0.0.weight is missing in this network 'shallow'" in refused(config(path))
    path = save_model(tmp_path, "cnn1d", "rhythm")
    error = refused(config(path, model="shallow"))
    assert "body.4.convs.0.0.weight has shape (56, 56, 5) in this network 'cnn1d'" in error
    assert "is missing in --model shallow" in error


def test_other_dense_layers_are_refused_unless_they_start_fresh(tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS, "wide", CNN1D(dense=48))
    path = save_model(tmp_path, "wide", "rhythm")
    assert "dense.0.weight has shape (48, 112)" in refused(config(path))
    assert read_origin(config(path, freeze="features")).facts.fresh


def test_a_file_that_is_not_there_not_ours_or_damaged_is_refused(tmp_path):
    path = save_model(tmp_path, "cnn1d", "rhythm")
    assert "no such file" in refused(config(tmp_path / "none.safetensors"))
    text = tmp_path / "notes.safetensors"
    text.write_text("no weights")
    assert "is not a safetensors file" in refused(config(text))
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes(path.read_bytes())
    assert "alone.json, which describes the model, is not beside it" in refused(config(alone))
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    assert "its SHA-256 is not the one in fedavg.json" in refused(config(path))
    path.write_bytes(damaged[:-8])
    assert "is not a safetensors file" in refused(config(path))


def test_freeze_without_init_from_is_refused():
    with pytest.raises(ConfigError, match="--freeze is 'features', but no --init-from"):
        checked({"freeze": "features"})


def new_record(folder, settings):
    folder.mkdir(parents=True, exist_ok=True)
    return RunRecord.new(folder, settings, ())


def test_the_first_weights_stay_in_the_run_directory(tmp_path):
    path = save_model(tmp_path, "cnn1d", "rhythm")
    settings = config(path)
    record = new_record(tmp_path / "run", settings)
    facts = keep_initial_weights(record, settings)
    expected = start(settings, tmp_path)
    path.unlink()
    assert keep_initial_weights(RunRecord.read(record.folder), settings) == facts
    found = start(settings, record.folder)
    assert list(found) == list(expected)
    assert same(found, expected) == expected.keys()


def test_a_changed_file_before_the_first_weights_are_kept_is_refused(tmp_path):
    settings = config(save_model(tmp_path, "cnn1d", "rhythm"))
    record = new_record(tmp_path / "run", settings)
    known = keep_initial_weights(record, settings)
    (record.folder / INITIAL).unlink()
    save_model(tmp_path, "cnn1d", "rhythm", seed=12)
    for resumed, of_all in ((record, None), (new_record(tmp_path / "part", settings), known)):
        with pytest.raises(ConfigError, match="is not the file that the run began with") as found:
            keep_initial_weights(resumed, settings, of_all)
        assert "\n" not in str(found.value)
        assert not (resumed.folder / INITIAL).exists()


def test_a_site_is_sent_what_is_frozen_and_no_folder_of_the_coordinator(tmp_path):
    settings = config("/secret/place/fedavg-best.safetensors", freeze="features")
    job = Job(config=settings, strategy="fedavg", run="r", workspace=str(tmp_path))
    sent = Job.model_validate_json(job.for_sites().model_dump_json())
    assert sent.config.freeze == "features"
    assert sent.config.init_from == "fedavg-best.safetensors"
    assert "secret" not in job.for_sites().model_dump_json()
