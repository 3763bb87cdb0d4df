"""The table of what privacy costs: rows, and differences to the same without privacy."""

from support.rounds import digest, history, run

from benchmarks.studies.privacy import program, rows, table
from benchmarks.studies.unmasked_run import without_masks
from fl.privacy.differential_privacy.guarantee import with_noise
from fl.privacy.secure_aggregation import masked_site


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


def test_with_many_sites_shared_noise_is_measured_without_masks():
    found = rows(["8", "100"], ["head"], ["none", "8"])
    made = {name: "benchmarks.studies.unmasked_run" in program(job) for name, job in found.items()}
    assert [name for name, unmasked in made.items() if unmasked] == [
        "100 sites, head, epsilon 8, shared noise"
    ]


def test_a_run_without_masks_ends_with_the_same_weights_and_figures(make_job, monkeypatch):
    private = {"dp": "patient", "epsilon": 8.0, "local_epochs": 1}
    found = []
    for name in ("masked", "unmasked"):
        job = make_job(4, name=name, secure_aggregation=True, rounds=2, **private)
        job = job.model_copy(update={"config": with_noise(job.config)})
        if name == "masked":
            run(job)
        else:
            monkeypatch.setattr(masked_site, "pair_mask", None)  # would raise if it were called
            with without_masks():
                run(job)
        found.append((digest(job), history(job)))
    assert found[0] == found[1]
