"""The benchmark of beat features measures the features and the examples of a recording."""

from support.beat_recordings import recording

from benchmarks.speed.beat_features import measure


def test_there_is_a_row_for_either_kind_of_features():
    whole, causal = (row.split("|")[1:-1] for row in measure(recording(), repeats=2).splitlines())
    assert whole[:3] == [" made-up/100, 2 min, 360 Hz ", " 118 ", " whole recording "]
    assert causal[:3] == [*whole[:2], " causal "]
    for _, _, _, features, examples in (whole, causal):
        assert float(features) > 0
        assert float(examples) > 0
