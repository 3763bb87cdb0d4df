"""The time to a target: the reading of the curves, and the settings of the quickstart's row."""

import run_sim
from benchmarks.speed import target

RESULTS = {
    # Targets: 0.95 of 0.8, and 0.95 of the way from 0.5 to 0.8.
    "pooled/0": {"sources": {"a": 0.9, "b": 0.7}},
    "as shipped/0": [
        {"round": 1, "seconds": 10.0, "sources": {"a": 0.9, "b": 0.5}},
        {"round": 2, "seconds": 21.0, "sources": {"a": 0.8, "b": 0.72}},
        {"round": 3, "seconds": 30.0, "sources": {"a": 0.7, "b": 0.7}},
    ],
    "quickstart/0": [{"round": 1, "seconds": 7.0, "sources": {"a": 0.9, "b": 0.6}}],
}


def test_the_first_round_that_reaches_the_target_counts():
    _, _, shipped, quick = target.table(RESULTS)
    assert shipped == (
        "| as shipped | 0 | 0.800 | 0.760: 21 s, round 2 of 3 | 0.785: not in 3 rounds, 30 s "
        "| 0.760 after round 2 |"
    )
    assert quick == (
        "| quickstart | 0 | 0.800 | 0.760: not in 1 rounds, 7 s | 0.785: not in 1 rounds, 7 s "
        "| 0.750 after round 1 |"
    )


def test_the_quickstarts_row_has_valid_settings():
    config, _ = run_sim.settings([*target.ROWS["quickstart, learning rate 0.1"], "--data", "real"])
    training = (config.optimizer, config.momentum, config.lr, config.batch_size)
    assert (*training, config.local_epochs) == ("sgd", 0.9, 0.1, 32, 1)
    assert (config.optimizer_state, config.averaging, config.schedule) == (
        *("fresh", "plain", "constant"),
    )
    assert config.strategy == "fedavg"
