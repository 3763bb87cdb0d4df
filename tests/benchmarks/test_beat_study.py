"""The beat study: folds by patient, DS2 left closed while settings are chosen, and its tables."""

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from support.beat_recordings import recording
from support.made_cohorts import made_shard
from support.small_records import write

from benchmarks.common.results_store import StoredResults, put_between_marks
from benchmarks.studies.beat import __main__ as study
from benchmarks.studies.beat import on_ds2, recipes, saved_runs, splits
from benchmarks.studies.beat.choose import Choosing, beats_in_rhythm, logistic
from benchmarks.studies.beat.choose_tables import choose_tables
from benchmarks.studies.beat.ds2_tables import ds2_tables
from benchmarks.studies.beat.measures import (
    as_text,
    average_precisions,
    counts_of,
    from_text,
    measured_on_peaks,
)
from benchmarks.studies.beat.recipes import PROPOSED, RECIPES, RECORDING_FEATURES, BeatRecipe
from benchmarks.studies.beat.recordings import (
    CHOOSING,
    SOURCES,
    Detected,
    DetectedRecord,
    Recordings,
    detected_peaks,
)
from fl.data.cohort import Cohort
from fl.datasets import DATASETS
from fl.datasets.mitdb import DS1, DS2
from fl.datasets.readers import wfdb_access
from fl.ecg.beat_features import FEATURES
from fl.ecg.records import Annotations
from fl.ecg.tasks import BEAT
from fl.evaluation.decisions.decision_rule import choose_rule
from fl.evaluation.decisions.score_histograms import count_scores
from fl.models import build_network
from fl.training.saved_weights import FORMAT
from fl.training.state_dict import get_weights, save_weights
from fl.util.errors import ConfigError, DataError

DOCS = Path(__file__).parents[2] / "docs"
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


def people(names, source, task=BEAT):
    """Three beats of each patient: N, S and V."""
    patients = np.repeat(np.array(names), 3)
    features = np.zeros((len(patients), len(FEATURES)), dtype=np.float32)
    return made_shard(
        patients,
        [[0], [1], [2]] * len(names),
        source,
        task,
        recordings=patients,
        names=np.char.add(patients, np.array(["/0", "/1", "/2"] * len(names))),
        features=features,
        detector_features=features + 1,
    )


@pytest.fixture(scope="module")
def everyone():
    """Patients of DS1 and of SVDB."""
    return Cohort.of(
        BEAT, [people(DS1, "mitdb"), people([str(800 + n) for n in range(78)], "svdb")]
    )


def test_each_patient_of_both_databases_is_tested_in_one_fold(everyone):
    folds = list(splits.folds(everyone, seed=0))
    tested = [set(everyone.patients[test].tolist()) for _, test in folds]
    assert sum(map(len, tested)) == len(set.union(*tested)) == 22 + 78
    assert [sum(name.startswith("svdb") for name in fold) for fold in tested] == [
        16,
        16,
        16,
        15,
        15,
    ]
    for fold, records in zip(tested, splits.FOLDS, strict=True):
        assert {n for n in fold if n.startswith("mitdb")} == {f"mitdb:{n}" for n in records}


def test_folds_share_no_patient_and_depend_on_the_seed(everyone):
    first, other = (list(splits.folds(everyone, seed)) for seed in (0, 1))
    for rest, test in first:
        assert not set(everyone.patients[rest]) & set(everyone.patients[test])
        assert len(rest) + len(test) == len(everyone)
    assert not np.array_equal(first[0][1], other[0][1])
    assert np.array_equal(first[0][1], next(splits.folds(everyone, 0))[1])


def test_validation_patients_are_training_patients_that_do_not_train(everyone):
    for number, (rest, _) in enumerate(splits.folds(everyone, seed=0)):
        train, validate = splits.with_validation(everyone, rest, 0, number)
        assert sorted([*train, *validate]) == rest.tolist()
        trains, validates = (set(everyone.patients[rows].tolist()) for rows in (train, validate))
        assert not trains & validates
        by_source = [sum(n.startswith(source) for n in validates) for source in ("mitdb", "svdb")]
        assert by_source[0] == 4  # at least four, although 15% are fewer
        assert by_source[1] in (9, 10)


def test_without_svdb_the_same_patients_of_ds1_validate(everyone):
    rest, _ = next(splits.folds(everyone, seed=0))
    alone = np.intersect1d(rest, splits.of_sources(everyone, ["mitdb"]))
    both, one = (
        set(everyone.patients[splits.with_validation(everyone, rows, 0, 0)[1]].tolist())
        for rows in (rest, alone)
    )
    assert {name for name in both if name.startswith("mitdb")} == one


def test_too_few_patients_to_validate_on_are_named(everyone):
    rows = np.flatnonzero(np.isin(everyone.patients, ["mitdb:101", "mitdb:106"]))
    with pytest.raises(DataError, match="mitdb: 2 patients"):
        splits.with_validation(everyone, rows, 0)


def test_strict_leaves_201_out_because_he_is_202(everyone):
    kept = splits.strict(everyone, np.arange(len(everyone)))
    assert set(everyone.patients.tolist()) - set(everyone.patients[kept].tolist()) == {"mitdb:201"}


def test_the_leaking_split_divides_beats_and_not_patients(everyone):
    parts = splits.random_beats(everyone, seed=0)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(everyone)))
    assert len(parts[2]) == len(everyone) // 2
    assert set(everyone.patients[parts[0]]) & set(everyone.patients[parts[2]])


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


def test_a_recipe_shows_only_its_features(everyone):
    shown = recipes.as_in(RECIPES["no recording features"], everyone)
    hidden = np.isin(FEATURES, RECORDING_FEATURES)
    assert hidden.sum() == 5
    assert not shown.detector_features[:, hidden].any()
    assert shown.detector_features[:, ~hidden].all()


def test_a_row_changes_one_setting():
    assert RECIPES["no fibrillation gate"].options.irregular is None
    assert RECIPES["no early features (and no gate)"].options.early_features == ()
    assert "detector" not in RECIPES["no detector errors"].augment
    assert len({recipe.digest for recipe in RECIPES.values()}) == len(RECIPES)


def test_average_precision_is_scikit_learns_with_ties_and_has_an_interval_by_patient(rng):
    names = [f"p{number}" for number in range(30)]
    cohort = Cohort.of(BEAT, [people(names, "mitdb")])
    p = np.round(rng.random((len(cohort), 5)), 1)
    found = average_precisions(cohort, p, np.arange(len(cohort)))
    for name, column in (("S", 1), ("V", 2)):
        value, low, high = found[name]
        expected = average_precision_score(cohort.labels[:, column], p[:, column])
        assert value == pytest.approx(expected, abs=1e-5)
        assert low < value < high
    few = average_precisions(cohort, p, np.arange(9))  # three patients: no interval
    assert len(few["S"]) == 1
    assert average_precisions(cohort, p, np.arange(0, 9, 3)) == {"S": None, "V": None}


def test_missed_and_false_beats_are_counted_and_fibrillation_is_left_out():
    one = DetectedRecord(
        key="mitdb/207",
        annotated=np.array([100, 200, 300, 900]),
        truth=np.array([0, 1, 0, 0]),
        detected=np.array([100, 201, 450, 700, 900]),
        fs=100.0,
        fibrillation=((600, 1000),),
    )
    second = replace(one, key="mitdb/208", fibrillation=())
    found = measured_on_peaks(Detected((one, second), None), np.array([0, 1, 2, 0, 0] + [0] * 5))
    first, other = counts_of(found)
    assert (first[0, 0], first[1, 1], first[0, 5], first[5, 2]) == (1, 1, 1, 1)
    assert first.sum() == 4
    assert (other[0, 0], other[1, 0], other[0, 5], other[5, 0]) == (2, 1, 1, 2)
    assert found["left_out"] == [1, 2]


def test_a_matrix_is_the_same_after_it_was_stored_as_text(rng):
    counts = rng.poisson(0.7, size=(6, 6))
    np.testing.assert_array_equal(from_text(as_text(counts), 6), counts)
    assert as_text(np.diag([3, 0, 2])) == "NN 3 VV 2"


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


def run(right=90, wrong=10, size=5):
    """Two records of N and S beats, one of them 232."""
    record = np.zeros((size, size), dtype=int)
    record[0, 0], record[1, 1], record[1, 0] = 100, right, wrong
    other = np.zeros((size, size), dtype=int)
    other[0, 0], other[1, 0] = 100, 10
    other[4, 1] = 5  # Q called S
    ap = {"all": {"S": [0.8, 0.7, 0.9], "V": None}, "without 232": {"S": [0.5], "V": None}}
    return {"records": {"mitdb/232": as_text(record), "mitdb/100": as_text(other)}, "ap": ap}


def content(**results):
    details = {"data": "0123456789abcdef"}
    return {"results": results, "machine": "here", "torch": "2", "details": details}


def cells_of(lines, label, place=0):
    """The cells of the lines that begin with a label."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return [row for row in rows if row and row[0] == label][place]


def test_s_is_reported_with_and_without_record_232_and_over_seeds():
    both = {"ds2/strict/10": {"annotated": run()}, "ds2/strict/11": {"annotated": run(70, 30)}}
    lines = ds2_tables(content(**both))
    s = cells_of(lines, "S")
    assert s[2].startswith("0.727")  # (90 + 70) / 2 of 110
    assert s[5].startswith("0.800 (0.700 to 0.900)")
    f1s = [2 * right / (110 + right + 5) for right in (90, 70)]
    assert s[6] == ", ".join(f"{f1:.3f}" for f1 in f1s)
    assert s[7] == f"{np.std(f1s, ddof=1):.3f}"
    assert cells_of(lines, "S without 232")[1:3] == ["10", "0.000"]


def test_folds_of_a_seed_are_one_seed():
    found = {
        f"runs/fedavg/seed-{seed} fold-{fold}": {"annotated": run(60 + 10 * fold, 40 - 10 * fold)}
        for seed in (10, 11)
        for fold in (1, 2)
    }
    s = cells_of(ds2_tables(content(**found)), "S")
    assert len(s[6].split(", ")) == 2
    assert s[7] == "0.000"  # both seeds have the same mean over their folds


def test_bxbs_way_of_counting_stands_beside_ours_for_detected_beats():
    found = run(size=6) | {"left_out": [3, 4]}
    found["records"]["mitdb/232"] += " So 20"  # S beats that were missed
    found["records"]["mitdb/100"] += " oN 7"  # false beats
    lines = ds2_tables(content(**{"ds2/strict/10": {"annotated": run(), "xqrs": found}}))
    assert cells_of(lines, "S", place=1)[3].startswith(f"{90 / 95:.3f}")
    assert cells_of(lines, "S, bxb")[3].startswith("1.000")
    (quality,) = (line for line in lines if line.startswith("Detection: "))
    assert "20 beats missed, 7 found that are none" in quality
    assert "3 annotated beats and 4 detections" in quality


def test_the_leaking_protocol_is_marked_and_its_gap_is_reported():
    runs = {"ds2/strict/10": {"annotated": run(50, 50)}, "ds2/intra/10": {"annotated": run()}}
    lines = ds2_tables(content(**runs))
    assert any("LEAKS" in line for line in lines)
    assert any(line.startswith("Macro-F1 of the leaking protocol minus") for line in lines)


def test_the_comparison_has_a_row_for_each_recipe_with_and_without_209_and_203():
    records = {f"mitdb/{n}": run()["records"]["mitdb/232"] for n in ("101", "203")}
    records["mitdb/209"] = run(10, 90)["records"]["mitdb/232"]
    ap = {"mitdb": {"S": [0.75], "V": None}}
    rows = {
        f"choose/as proposed/{s}": {"annotated": {"records": records, "ap": ap}} for s in (0, 1)
    }
    cells = cells_of(choose_tables(content(**rows)), "as proposed")
    f1s = [2 * right / (beats + right) for right, beats in ((190, 300), (180, 200), (100, 200))]
    assert cells[1:4] == ["0.750", "n/a", f"{f1s[0]:.3f}"]
    assert cells[6:] == [f"{f1s[1]:.3f}", f"{f1s[2]:.3f}", "0.000", "2"]


def test_records_that_could_not_be_used_are_named():
    unusable = {"left out/ds2": {"svdb": {"bad-header": ["804", "811"]}}}
    lines = ds2_tables(content(**{"ds2/strict/10": {"annotated": run()}}, **unusable))
    assert any("svdb that could not be used (bad-header): 804, 811." in line for line in lines)


def test_the_tables_go_between_their_marks_and_leave_the_rest(tmp_path):
    path = tmp_path / "docs" / "results.md"
    put_between_marks(path, "beat", "one")
    path.write_text(path.read_text() + "\n<!-- rhythm -->\nother\n<!-- /rhythm -->\n")
    put_between_marks(path, "beat", "two")
    text = path.read_text()
    assert "<!-- beat -->\ntwo\n<!-- /beat -->" in text
    assert "other" in text
    assert "one" not in text


def test_stored_results_are_not_made_again_unless_settings_change(tmp_path):
    path, calls = tmp_path / "results.json", []

    def make():
        calls.append(1)
        return {"a": 1}

    for settings, times in (("one", 1), ("one", 1), ("two", 2)):
        assert StoredResults(path, {"settings": settings}).get_or_make("x", make) == {"a": 1}
        assert len(calls) == times
    assert json.loads(path.read_text())["results"] == {"x": {"a": 1}}


def test_the_stored_results_are_of_the_present_settings():
    """A renamed field would make the command train everything again."""
    stored = json.loads((DOCS / "results-beat.json").read_text())
    settings = study.settings_of(stored["details"]["data"])
    assert stored["details"] == json.loads(json.dumps(settings))
    assert stored["settings"] == study.digest_of(settings)
    for key, value in stored["results"].items():
        kind, *name = key.split("/")
        if kind in ("choose", "leave one out"):
            assert value["of"] == RECIPES[name[0]].digest, key


def test_the_frozen_recipe_is_the_proposed_one():
    assert RECIPES["as proposed"] == PROPOSED == on_ds2.PROTOCOLS["strict"]
