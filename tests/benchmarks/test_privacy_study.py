"""The table of what privacy costs: rows, and differences to the same without privacy."""

from benchmarks.studies.privacy import rows, table


def test_rows_name_sites_layers_epsilon_and_who_adds_the_noise():
    found = rows(["8"], ["head"], ["none", "3"])
    assert list(found) == [
        "8 sites, head, none",
        "8 sites, head, epsilon 3, shared noise",
        "8 sites, head, epsilon 3, own noise",
    ]
    assert found["8 sites, head, none"] == {"clients": "8", "freeze": "features"}
    shared = found["8 sites, head, epsilon 3, shared noise"]
    assert (shared["epsilon"], shared["secure_aggregation"]) == ("3", "true")


def test_differences_are_to_the_same_seed_and_layers_without_privacy():
    plain = {"auroc": 0.9, "f1": 0.6, "noise": 0.0, "steps": 0}
    private = {"auroc": 0.85, "f1": 0.5, "noise": 1.5, "steps": 80}
    name = "8 sites, head, epsilon 8, own noise"
    lines = table({"8 sites, head, none": {1: plain, 2: plain}, name: {1: private}})
    assert lines[2] == "| 8 sites, head, none | 2 |  |  | 0.900 |  | 0.600 |  |"
    assert lines[3] == f"| {name} | 1 | 80 | 1.50 | 0.850 | -0.050 | 0.500 | -0.100 |"
