"""The beat study: who trains, who validates and who is tested, always by patient."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from support.made_cohorts import made_shard

from benchmarks.studies.beat import recipes, splits
from benchmarks.studies.beat.measures import average_precisions
from benchmarks.studies.beat.recipes import RECIPES, RECORDING_FEATURES
from fl.data.cohort import Cohort
from fl.datasets.mitdb import DS1
from fl.ecg.beat_features import FEATURES
from fl.ecg.tasks import BEAT
from fl.util.errors import DataError


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


def test_a_recipe_shows_only_its_features(everyone):
    shown = recipes.as_in(RECIPES["no recording features"], everyone)
    hidden = np.isin(FEATURES, RECORDING_FEATURES)
    assert hidden.sum() == 5
    assert not shown.detector_features[:, hidden].any()
    assert shown.detector_features[:, ~hidden].all()


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
