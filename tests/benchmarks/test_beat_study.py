"""The beat study: DS2 stays closed while settings are chosen, and is tested by every protocol."""

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.beat_recordings import recording
from support.small_records import write

from benchmarks.common.results_store import StoredResults
from benchmarks.studies.beat import __main__ as study
from benchmarks.studies.beat import on_ds2, recipes, saved_runs, splits
from benchmarks.studies.beat.choose import Choosing, beats_in_rhythm, logistic
from benchmarks.studies.beat.measures import (
    counts_of,
)
from benchmarks.studies.beat.recipes import RECIPES, BeatRecipe
from benchmarks.studies.beat.recordings import (
    CHOOSING,
    SOURCES,
    Recordings,
    detected_peaks,
)
from fl.datasets import DATASETS
from fl.datasets.mitdb import DS1, DS2
from fl.datasets.readers import wfdb_access
from fl.ecg.records import Annotations
from fl.ecg.tasks import BEAT
from fl.evaluation.decisions.decision_rule import choose_rule
from fl.evaluation.decisions.score_histograms import count_scores
from fl.models import build_network
from fl.training.saved_weights import FORMAT
from fl.training.state_dict import get_weights, save_weights
from fl.util.errors import ConfigError, DataError

EARLY_BEATS = (10, 17, 24, 31)
SVDB_RECORDS = tuple(str(800 + number) for number in range(12))
QUICK = BeatRecipe(model="beat_mlp", epochs=1, on_detected=True)


def write_record(folder, name, lead, fs):
    """A recording of 40 s with premature beats; every second one is annotated V, the others S."""
    made = recording(seconds=40.0, early=EARLY_BEATS, fs=fs)
    beats = len(made.annotations.samples)
    symbols = np.array(["N"] * beats)
    symbols[[beat - 1 for beat in EARLY_BEATS]] = ["A", "V"] * (len(EARLY_BEATS) // 2)
    noise = np.random.default_rng(int(name)).normal(0, 0.01, made.signal.T.shape)
    write(folder, name, leads=[lead], fs=fs, comments=["69 M 1085 1629 x1"],
          signal=made.signal.T + noise)  # fmt: skip
    rhythm = "(AFIB" if name in ("201", "203") else "(N"
    wfdb_access.call(
        "wrann",
        name,
        "atr",
        sample=np.concatenate([[1], made.annotations.samples]),
        symbol=["+", *symbols.tolist()],
        aux_note=[rhythm, *[""] * beats],
        write_dir=str(folder),
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Made recordings under the names of MIT-BIH's DS1 and DS2 and of twelve of SVDB."""
    root = tmp_path_factory.mktemp("beat-study")
    for name in DS1 + DS2:
        write_record(root / "mitdb", name, "MLII", 360.0)
    for name in SVDB_RECORDS:
        write_record(root / "svdb", name, "ECG1", 128.0)
    return root


@pytest.fixture(scope="module")
def recordings(data, cache_dir):
    return Recordings(data=data, cache=cache_dir)


opened: list[Path] | None = None  # files that are opened; None: they are not noted


def _note(event, arguments):
    if opened is not None and event == "open" and isinstance(arguments[0], str):
        opened.append(Path(arguments[0]))


@pytest.fixture(scope="module")
def noted():
    """A function that calls another one and returns the files that it opens."""
    sys.addaudithook(_note)  # it cannot be removed, only told to note nothing

    def files_of(act):
        global opened
        opened = []
        try:
            act()
            return opened
        finally:
            opened = None

    return files_of


def of_ds2(files, data):
    return [path for path in files if path.is_relative_to(data) and path.stem in DS2]


def test_choosing_opens_no_file_of_ds2(noted, data, tmp_path, monkeypatch):
    monkeypatch.setattr(study, "RECIPES", {"quick": QUICK})
    monkeypatch.setattr(study, "LEAVE_ONE_OUT", ("quick",))
    folders = ["--data-dir", str(data), "--cache-dir", str(tmp_path / "cache")]
    out = ["--json", str(tmp_path / "r.json"), "--results", str(tmp_path / "r.md")]
    files = noted(lambda: study.main(["--choose", "--seeds", "0", *folders, *out]))
    assert {path.stem for path in files if path.parent == data / "mitdb"} == set(DS1)
    assert of_ds2(files, data) == []
    stored = json.loads((tmp_path / "r.json").read_text())["results"]
    assert {"fibrillation", "choose/quick/0", "leave one out/quick/0"} <= set(stored)
    tested = stored["choose/quick/0"]["annotated"]["records"]
    assert sorted(tested) == [f"mitdb/{n}" for n in sorted(DS1)] + [
        f"svdb/{n}" for n in SVDB_RECORDS
    ]
    text = (tmp_path / "r.md").read_text()
    assert "#### Detected beats of SVDB" in text
    assert "| DS1 | SVDB | quick |" in text
    assert "MIT-BIH's DS2" not in text


def test_the_note_of_opened_files_would_see_ds2(noted, data, tmp_path):
    everything = Recordings(data=data, cache=tmp_path)
    assert {p.stem for p in of_ds2(noted(lambda: everything.examples(["ds2"])), data)} == set(DS2)


def test_a_record_of_ds2_cannot_be_read_from_ds1(data):
    with pytest.raises(ValueError, match="record 100 of mitdb is not one of"):
        SOURCES["ds1"].read(data, "100")


def test_missing_records_are_named(tmp_path):
    write_record(tmp_path / "mitdb", "101", "MLII", 360.0)
    with pytest.raises(DataError, match=r"21 of the 22 records .* missing .106, 108, 109"):
        SOURCES["ds1"].record_names(tmp_path)


def test_the_cache_folder_of_a_source_has_the_same_name_in_every_process():
    assert not any("0x" in repr(source) for source in (*SOURCES.values(), *DATASETS.values()))


def test_folds_answer_every_beat_with_its_own_folds_network(recordings, monkeypatch):
    """The network of a fold answers S for all beats of the patients that it has not seen."""
    choosing = Choosing(recordings)

    class Unseen:
        def __init__(self, seen):
            self.seen = seen

        def answers(self, cohort):
            assert not self.seen & set(cohort.patients.tolist())
            answer = np.ones(len(cohort), dtype=np.int64)
            return np.eye(5)[answer], answer

    def train(cohort, trained, validated, recipe, seed, device):
        return Unseen(set(cohort.patients[[*trained, *validated]].tolist()))

    monkeypatch.setattr("benchmarks.studies.beat.choose.train", train)
    found = choosing.across_folds(QUICK, 0)
    counts = counts_of(found["annotated"])
    assert counts[:, :, 1].sum() == counts.sum() == len(choosing.cohort)
    assert counts_of(found["xqrs"])[:, :, [0, 2, 3, 4]].sum() == 0
    left_out = choosing.leave_one_out(QUICK, 0)
    assert {key.split("/")[0] for key in left_out["svdb"]["records"]} == {"svdb"}
    assert {key.split("/")[0] for key in left_out["mitdb"]["records"]} == {"mitdb"}


@pytest.mark.parametrize("name", recipes.LEAVE_ONE_OUT)
def test_an_unseen_database_is_answered_at_the_pooled_point(recordings, name):
    cohort = recordings.examples(CHOOSING)
    rows = splits.with_validation(cohort, splits.of_sources(cohort, ["svdb"]), 0)
    trained = recipes.train(cohort, *rows, replace(RECIPES[name], epochs=1), 0, "cpu")
    assert set(trained.rule.thresholds) == {"svdb", "pooled"}
    assert trained.rule.of("mitdb") == "pooled"
    other = cohort.take(splits.of_sources(cohort, ["mitdb"]))
    p, predicted = trained.answers(other)
    assert p.shape == (len(other), 5)
    assert set(predicted.tolist()) <= {0, 1, 2}  # F and Q are never answered


def test_an_ensemble_averages_the_probabilities_of_its_networks(recordings):
    cohort = recordings.examples(("svdb",))
    rows = splits.with_validation(cohort, np.arange(len(cohort)), 0)
    trained = recipes.train(cohort, *rows, replace(QUICK, networks=2), 0, "cpu")
    both, *each = (
        recipes.probabilities(networks, QUICK, cohort, "cpu")
        for networks in (trained.networks, trained.networks[:1], trained.networks[1:])
    )
    assert not np.array_equal(*each)
    np.testing.assert_allclose(both, (each[0] + each[1]) / 2)


def test_a_row_changes_one_setting():
    assert RECIPES["no fibrillation gate"].options.irregular is None
    assert RECIPES["no early features (and no gate)"].options.early_features == ()
    assert "detector" not in RECIPES["no detector errors"].augment
    assert len({recipe.digest for recipe in RECIPES.values()}) == len(RECIPES)


def test_detected_peaks_are_kept_and_unusable_records_have_none(data, tmp_path, monkeypatch):
    peaks = detected_peaks(SOURCES["ds1"], data, tmp_path, "xqrs", "101")
    monkeypatch.setattr("benchmarks.studies.beat.recordings.detect_beats", None)
    again = detected_peaks(SOURCES["ds1"], data, tmp_path, "xqrs", "101")
    assert len(peaks) > 20
    np.testing.assert_array_equal(peaks, again)
    write(tmp_path / "svdb", "800", leads=("ECG1",), fs=128)  # nobody annotated it
    assert detected_peaks(SOURCES["svdb"], tmp_path, tmp_path, "xqrs", "800") is None


def test_the_rhythm_of_a_beat_is_the_last_one_before_it():
    notes = Annotations(
        samples=np.arange(6),
        symbols=("N", "+", "N", "~", "A", "+"),
        rhythms=("", "(AFIB", "", "", "", "(N"),
    )
    assert beats_in_rhythm(notes, "(AFIB").tolist() == [False, True, True]


def test_the_regression_of_fibrillation_counts_records_and_not_beats(rng):
    feature = rng.normal(size=4000).astype(np.float32)
    truth = rng.random(4000) < 1 / (1 + np.exp(-3 * (feature - 0.5)))
    slope, at = logistic(feature, truth, np.ones(4000))
    assert slope == pytest.approx(3, abs=0.4)
    assert at == pytest.approx(0.5, abs=0.1)
    repeated = np.repeat(np.arange(4000), np.where(feature > 0, 3, 1))
    weight = np.where(feature > 0, 1 / 3, 1.0)[repeated]
    assert logistic(feature[repeated], truth[repeated], weight) == pytest.approx(
        (slope, at), abs=1e-2
    )


def save_model(folder, rule, sha256=""):
    """The weights of an untrained network, and the file beside them."""
    weights = folder / "weights" / "fedavg-best.safetensors"
    weights.parent.mkdir(parents=True)
    facts = {"model": "beat_mlp", "task": "beat", "strategy": "fedavg"}
    save_weights(weights, get_weights(build_network("beat_mlp", BEAT)), facts)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    content = {"format": FORMAT, "sha256": digest, "classes": list(BEAT.classes), **facts}
    content |= {"decision": rule.to_json(), "synthetic": False}
    (weights.parent / "fedavg.json").write_text(json.dumps(content))
    lines = ["source,record,patient,site,split,labels"]
    lines += [f"mitdb,{n}/000100,mitdb:{n},site-1,train,N" for n in DS1 if n != "201"]
    lines += [f"mitdb,{n}/000100,mitdb:{n},central,test,N" for n in DS2]
    (folder / "partition.csv").write_text("\n".join(lines) + "\n")
    return weights


@pytest.fixture
def saved_run(recordings, tmp_path):
    """A run directory of two seeds with two folds each."""
    cohort = recordings.examples(CHOOSING)
    p = np.full(cohort.labels.shape, 0.2)
    scores = {
        source: count_scores(cohort.labels[rows], p[rows], cohort.patients[rows])
        for source in ("mitdb", "svdb")
        for rows in [np.flatnonzero(cohort.sources == source)]
    }
    for seed in (10, 11):
        for fold in (1, 2):
            save_model(
                tmp_path / "run" / f"seed-{seed}" / f"fold-{fold}", choose_rule(scores, BEAT)
            )
    return tmp_path / "run"


@pytest.mark.slow
def test_ds2_is_tested_by_every_protocol_and_with_saved_models(
    data, cache_dir, saved_run, tmp_path, monkeypatch
):
    quick = {
        name: replace(recipe, epochs=1, model="beat_mlp" if name != "causal" else recipe.model)
        for name, recipe in on_ds2.PROTOCOLS.items()
    }
    monkeypatch.setattr(on_ds2, "PROTOCOLS", quick)
    monkeypatch.setattr(study, "PROTOCOLS", quick)
    folders = ["--data-dir", str(data), "--cache-dir", str(cache_dir), "--runs", str(saved_run)]
    out = ["--json", str(tmp_path / "r.json"), "--results", str(tmp_path / "r.md")]
    assert study.main([*folders, *out, "--seeds", "10,11"]) == 0
    stored = json.loads((tmp_path / "r.json").read_text())["results"]
    for name in quick:
        run = stored[f"ds2/{name}/10"]
        assert ("xqrs" in run) == ("gqrs" in run) == (name == "strict")
        tested = {key.split("/")[1] for key in run["annotated"]["records"]}
        assert tested == (set(DS1 + DS2) if name == "intra" else set(DS2))
        assert set(run["annotated"]["ap"]) == {"all", "without 232"}
    assert len([key for key in stored if key.startswith("runs/fedavg/")]) == 4
    text = (tmp_path / "r.md").read_text()
    for title in ("### Strict", "### Causal", "LEAKS", "beats found by gqrs", "Federated (FedAvg)"):
        assert title in text
    assert "| S without 232, bxb |" in text
    assert "RA-CNN 2022" in text
    assert "How the settings were chosen" not in text


@pytest.mark.parametrize(
    ("central", "moved", "record"),
    [("mitdb:232,central,test", "mitdb:232,site-1,val", "232"),
     ("mitdb,101/000100,mitdb:101", "mitdb,201/000100,mitdb:201", "201")],
)  # fmt: skip
def test_a_run_that_trained_on_a_patient_of_ds2_is_refused(saved_run, central, moved, record):
    path = saved_run / "seed-11" / "fold-2" / "partition.csv"
    path.write_text(path.read_text().replace(central, moved))
    with pytest.raises(ConfigError, match=rf"seed-11/fold-2: .* of DS2 \(records {record}\)"):
        saved_runs.saved_weights(saved_run)


def test_a_folder_without_models_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"--runs .*: no weights/fedavg-best"):
        saved_runs.saved_weights(tmp_path)


def test_what_ds2_tests_cannot_be_changed_from_the_command_line(capsys):
    for wrong in (["--epochs", "1"], ["--only", "beat_mlp"], ["--choose", "--runs", "RUN"]):
        with pytest.raises(SystemExit):
            study.parsed(wrong)
    with pytest.raises(SystemExit):
        study.parsed(["--choose", "--only", "beat_mpl"])
    assert "beat_mlp" in capsys.readouterr().err


def test_a_result_of_another_recipe_is_made_again(tmp_path):
    file = StoredResults(tmp_path / "r.json", {"settings": "a"})
    made = []
    for of in ("one", "one", "two"):
        study.get_or_make(file, "choose/x/0", of, lambda of=of: made.append(of) or {"n": len(made)})
    assert made == ["one", "two"]
    assert file.content["results"]["choose/x/0"] == {"of": "two", "n": 2}
