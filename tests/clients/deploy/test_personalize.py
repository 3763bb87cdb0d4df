"""A hospital that joins later makes its own model from a file: `clients.deploy personalize`."""

import json

import pytest
from support.federations import write_folder
from support.rules import even_rule
from support.saved_models import save_model

from clients.deploy.__main__ import main
from fl.ecg.tasks import BEAT, RHYTHM
from fl.predict.__main__ import main as predict_command


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    """A hospital's own folder of 40 synthetic recordings."""
    folder = tmp_path_factory.mktemp("late") / "own"
    write_folder(folder, [f"S{n:05d}" for n in range(1, 41)])
    return folder


@pytest.fixture
def model(tmp_path):
    """A federation's model, which nobody has trained."""
    rule = even_rule(RHYTHM.classes)
    return save_model(tmp_path, "cnn_simple", "rhythm", decision=rule.to_json(), best_round=3)


def personalize(model, hospital, out, *more):
    given = ["--weights", model, "--data-dir", hospital.parent, "--sources", f"own={hospital}"]
    return main(["personalize", *map(str, given), "--out", str(out), *more])


def test_its_own_model_is_written_measured_and_used(model, hospital, tmp_path, capsys):
    out = tmp_path / "mine"
    assert personalize(model, hospital, out) == 0
    shown = capsys.readouterr().out
    assert "other patients test it" in shown
    assert "macro-AUROC  before" in shown
    assert "test patients are too few for an interval (10)" in shown
    assert "SYNTHETIC DATA" in shown
    assert {path.name for path in out.iterdir()} == {
        f"own-map-head.{ending}" for ending in ("safetensors", "json", "md")
    }
    facts = json.loads((out / "own-map-head.json").read_text())
    assert (facts["strategy"], facts["site"], facts["best_round"]) == (
        *("map-head-hospital", "hospital"),
        3,
    )
    assert facts["decision"]["thresholds"].keys() == {"pooled", "own"}
    assert "own-map-head.json" in (out / "own-map-head.md").read_text()
    weights = str(out / "own-map-head.safetensors")
    record = str(hospital / "S00001")
    assert predict_command(["--weights", weights, "--source", "own", "--json", record]) == 0


def test_the_same_again_writes_the_same(model, hospital, tmp_path, capsys):
    found = []
    for name in ("one", "two"):
        assert personalize(model, hospital, tmp_path / name) == 0
        found.append((tmp_path / name / "own-map-head.json").read_bytes())
    assert found[0] == found[1]


def refused(capsys, code=2):
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.strip().splitlines()
    return line


def test_a_model_of_another_task_is_refused(model, hospital, tmp_path, capsys):
    assert personalize(model, hospital, tmp_path / "mine", "--task", "beat") == 2
    assert "the model is for the task 'rhythm', not 'beat'" in refused(capsys)


def test_a_file_that_is_not_there_is_refused(hospital, tmp_path, capsys):
    assert personalize(tmp_path / "none.safetensors", hospital, tmp_path / "mine") == 2
    assert "no such file" in refused(capsys)


def test_a_folder_that_is_not_there_is_refused(model, tmp_path, capsys):
    given = ["--weights", str(model), "--data-dir", str(tmp_path / "none"), "--out"]
    assert main(["personalize", *given, str(tmp_path / "mine")]) == 2
    assert "is no folder" in refused(capsys)


def test_too_few_patients_are_refused(model, tmp_path, capsys):
    write_folder(tmp_path / "data" / "own", [f"S{n:05d}" for n in range(1, 5)])
    assert personalize(model, tmp_path / "data" / "own", tmp_path / "mine") == 2
    assert "at least 5 are needed beside those who test it" in refused(capsys)


def test_recordings_without_the_models_classes_are_refused(model, hospital, tmp_path, capsys):
    names = [f"S{n:05d}" for n in range(1, 9)]
    folder = tmp_path / "data" / "own"
    write_folder(folder, names)
    lines = [f"{name},{name},NSR" for name in names]
    (folder / "labels.csv").write_text(
        "\n".join(["record,patient,labels,annotated", *(f"{line},NSR" for line in lines)]) + "\n"
    )
    assert personalize(model, folder, tmp_path / "mine") == 2
    assert "no class of it is annotated as present in one patient and absent" in refused(capsys)


def test_recordings_of_another_task_are_refused(hospital, tmp_path, capsys):
    rule = even_rule(BEAT.trainable)
    model = save_model(tmp_path, "beat_mlp", "beat", decision=rule.to_json())
    assert personalize(model, hospital, tmp_path / "mine") == 2
    assert refused(capsys)
