"""The time to a target: what is read from the curves, and what the quickstart's row is."""

import run_sim
from benchmarks.speed import target

RESULTS = {
    "pooled/0": {"sources": {"a": 0.9, "b": 0.7}},  # target: 0.95 of 0.8
    "as shipped/0": [
        {"round": 1, "seconds": 10.0, "sources": {"a": 0.9, "b": 0.5}},
        {"round": 2, "seconds": 21.0, "sources": {"a": 0.8, "b": 0.72}},
        {"round": 3, "seconds": 30.0, "sources": {"a": 0.7, "b": 0.7}},
    ],
    "quickstart/0": [{"round": 1, "seconds": 7.0, "sources": {"a": 0.9, "b": 0.6}}],
}


def test_the_first_round_whose_mean_of_sources_is_there_counts():
    _, _, shipped, quick = target.table(RESULTS)
    assert shipped == (
        "| as shipped | 0 | 0.800 | 0.760 | round 2 of 3 | 21 | 0.760 after round 2 |"
    )
    assert quick == (
        "| quickstart | 0 | 0.800 | 0.760 | not in 1 rounds | more than 7 | 0.750 after round 1 |"
    )


def test_the_quickstarts_row_is_a_run_that_can_be_asked_for():
    config, _ = run_sim.settings([*target.ROWS["quickstart, learning rate 0.1"], "--data", "real"])
    told = (config.optimizer, config.momentum, config.lr, config.batch_size, config.local_epochs)
    assert told == ("sgd", 0.9, 0.1, 32, 1)
    assert (config.optimizer_state, config.averaging, config.schedule) == (
        *("fresh", "plain", "constant"),
    )
    assert config.strategy == "fedavg"
