"""EC57's measures against counts made by hand."""

import numpy as np
import pytest

from fl.evaluation.ec57 import by_record, confusion, intervals, table
from fl.util.random_streams import stream

N, S, V = 0, 1, 2


def counts(*records):
    """(record, class, class) from {(true, said): beats}."""
    found = np.zeros((len(records), 5, 5), dtype=np.int64)
    for i, record in enumerate(records):
        for place, beats in record.items():
            found[i][place] = beats
    return found


def test_beats_are_counted_by_record_truth_and_answer():
    truth, predicted = np.array([N, N, S, V]), np.array([N, S, S, V])
    found = confusion(truth, predicted, np.array([0, 0, 1, 1]), 2)
    np.testing.assert_array_equal(found, counts({(N, N): 1, (N, S): 1}, {(S, S): 1, (V, V): 1}))


def test_sensitivity_predictivity_and_f1():
    found = table(counts({(N, N): 90, (N, S): 10, (S, S): 30, (S, N): 20, (V, V): 50})[0])
    assert found["classes"]["S"] == {
        "beats": 50,
        "se": pytest.approx(0.6),
        "ppv": pytest.approx(0.75),
        "f1": pytest.approx(2 * 30 / (50 + 40)),
    }
    assert found["accuracy"] == pytest.approx(170 / 200)
    f1s = [2 * 90 / (100 + 110), 60 / 90, 1.0]
    assert found["macro_f1"] == pytest.approx(np.mean(f1s))
    assert found["classes"]["F"] == {"beats": 0, "se": None, "ppv": None, "f1": None}


def test_gross_and_mean_by_record_are_two_things():
    both = counts({(S, S): 90, (S, N): 10}, {(S, S): 0, (S, N): 10}, {(N, N): 5})
    assert table(both.sum(axis=0))["classes"]["S"]["se"] == pytest.approx(90 / 110)
    assert by_record(both)["classes"]["S"]["se"] == pytest.approx(0.45)  # n/a in the third
    assert by_record(both)["accuracy"] == pytest.approx((0.9 + 0 + 1) / 3)


def test_intervals_are_by_record():
    """Half of the records are all right and half all wrong: by beat it would be narrow."""
    both = counts(*[{(N, N): 5000}, {(N, V): 5000}] * 5)
    found = intervals([both], seed=0)
    low, high = found["classes"]["N"]["se"]
    assert low <= 0.2
    assert high >= 0.8
    assert found["classes"]["S"]["se"] is None


def test_equal_records_have_no_spread():
    low, high = intervals([counts(*[{(N, N): 8, (N, S): 2}] * 10)] * 2, seed=0)["accuracy"]
    assert low == high == pytest.approx(0.8)


@pytest.fixture(scope="module")
def trainings():
    """Beats of ten records as two trainings classify them; no beat is of class Q."""
    made = stream(0, "trainings").integers(1, 30, size=(2, 10, 5, 5))
    made[:, :, 4, :] = made[:, :, :, 4] = 0
    return list(made)


def test_intervals_are_those_of_a_bootstrap_written_out(trainings):
    picks = stream(3, "bootstrap", "records", 10).integers(0, 10, size=(40, 10))
    drawn = [[table(counts[pick].sum(axis=0)) for counts in trainings] for pick in picks]

    def middle(figure):
        means = [np.mean([figure(table) for table in tables]) for tables in drawn]
        return pytest.approx(tuple(np.percentile(means, [2.5, 97.5])))

    found = intervals(trainings, seed=3, draws=40)
    assert found["accuracy"] == middle(lambda table: table["accuracy"])
    assert found["macro_f1"] == middle(lambda table: table["macro_f1"])
    for name in ("N", "S", "V", "F"):
        for measure, limits in found["classes"][name].items():
            assert limits == middle(lambda t, n=name, m=measure: t["classes"][n][m])
    assert found["classes"]["Q"] == dict.fromkeys(("se", "ppv", "f1"))


def test_fewer_than_twenty_draws_are_no_interval(trainings):
    assert intervals(trainings, seed=0, draws=19)["accuracy"] is None
    assert intervals(trainings, seed=0, draws=20)["accuracy"] is not None


def test_of_fewer_than_ten_records_there_is_no_interval(trainings):
    found = intervals([counts[:9] for counts in trainings], seed=0)
    assert found["accuracy"] is found["macro_f1"] is found["classes"]["S"]["f1"] is None


def test_without_a_beat_nothing_is_measured():
    found = table(np.zeros((5, 5), dtype=np.int64))
    assert found["accuracy"] is found["macro_f1"] is None
