"""Which model a hospital should use follows from the intervals of its own test patients."""

from types import SimpleNamespace

import pytest

from fl.evaluation.group_evaluation import Estimate
from fl.evaluation.strategy_comparison import ComparisonRow
from fl.reports.pages.which_model import SAME_PATIENTS, which_model

GAIN, LOSS, NONE, UNKNOWN = "gain", "loss", "none", "unknown"
INTERVALS = {GAIN: (0.02, 0.08), LOSS: (-0.08, -0.02), NONE: (-0.03, 0.07), UNKNOWN: (None, None)}
METRICS = ("macro_f1", "macro_auroc")


def measures(auroc, n):
    found = {"macro_f1": Estimate(value=0.6, low=None, high=None)}
    found["macro_auroc"] = Estimate(value=auroc, low=None, high=None)
    return SimpleNamespace(n_patients=n, estimate=found.__getitem__, **found)


def row(strategy, against, metric, kind, n):
    low, high = INTERVALS[kind]
    return ComparisonRow(
        strategy=strategy,
        against=against,
        where="site:site-1",
        metric=metric,
        value=-0.05 if kind == LOSS else 0.05,
        low=low,
        high=high,
        n_patients=n,
        sentence="",
    )


def chosen(differences, n=40, main="fedavg", compared=True, **aurocs):
    """The choice at a site; `differences` are (strategy, against): (F1, AUROC)."""
    rows = [
        row(*pair, metric, kind, n)
        for pair, kinds in differences.items()
        for metric, kind in zip(METRICS, kinds, strict=True)
    ]
    view = SimpleNamespace(
        name="site-1",
        main=main,
        compared=compared,
        reports={name.replace("_", "-"): measures(value, n) for name, value in aurocs.items()},
        differences=rows,
        model_files={"map-head": "weights/map-head-site-1.safetensors"},
    )
    return which_model(view)


def over_local(*kinds):
    return {("fedavg", "local"): kinds}


def over_global(name, *kinds):
    return {(name, "fedavg"): kinds}


@pytest.mark.parametrize("kinds", [(NONE, GAIN), (GAIN, NONE), (GAIN, GAIN)])
def test_a_model_that_is_clearly_better_than_the_global_one_is_recommended(kinds):
    found = chosen(
        over_local(GAIN, GAIN) | over_global("map-head", *kinds),
        local=0.7,
        fedavg=0.8,
        map_head=0.85,
    )
    assert found.model == "map-head"
    assert found.headline.endswith("(FedAvg+head): there is evidence that it is better here")
    assert found.file == "weights/map-head-site-1.safetensors"
    assert found.because[0].startswith("On 40 test patients: local training macro-F1 .600")
    assert found.because[-1] == SAME_PATIENTS
    assert any(
        s.startswith("FedAvg+head compared with FedAvg, macro-F1: +.05") for s in found.because
    )


@pytest.mark.parametrize("kinds", [(NONE, NONE), (NONE, LOSS), (GAIN, LOSS), (LOSS, GAIN)])
def test_without_clear_evidence_it_is_the_global_model(kinds):
    found = chosen(
        over_local(NONE, NONE) | over_global("map-head", *kinds),
        local=0.9,
        fedavg=0.8,
        map_head=0.85,
    )
    assert found.model == "fedavg"
    assert found.headline == (
        "site-1 should use the global model (FedAvg): there is no evidence that another one is "
        "better here"
    )


def test_of_several_that_are_better_it_is_the_one_with_the_highest_auroc():
    both = over_global("map-head", NONE, GAIN) | over_global("finetune", NONE, GAIN)
    for finetune, expected in ((0.9, "finetune"), (0.84, "map-head")):
        found = chosen(both, fedavg=0.8, map_head=0.85, finetune=finetune)
        assert found.model == expected


def test_a_better_estimate_alone_is_no_reason():
    both = over_global("map-head", NONE, NONE) | over_global("finetune", NONE, GAIN)
    assert chosen(both, fedavg=0.8, map_head=0.95, finetune=0.82).model == "finetune"


def test_where_the_global_model_is_clearly_worse_it_is_the_hospitals_own():
    found = chosen(over_local(LOSS, NONE), local=0.9, fedavg=0.8)
    assert found.model == "local"
    assert "evidence that the global model is worse here" in found.headline


def test_then_another_one_must_be_better_than_the_hospitals_own():
    given = over_local(LOSS, NONE) | over_global("map-head", GAIN, GAIN)
    worse = given | {("map-head", "local"): (NONE, NONE)}
    assert chosen(worse, local=0.9, fedavg=0.8, map_head=0.91).model == "local"
    better = given | {("map-head", "local"): (NONE, GAIN)}
    assert chosen(better, local=0.9, fedavg=0.8, map_head=0.91).model == "map-head"


def test_too_few_patients_for_an_interval_choose_nothing():
    given = over_local(UNKNOWN, UNKNOWN) | over_global("map-head", UNKNOWN, UNKNOWN)
    found = chosen(given, n=9, local=0.7, fedavg=0.8, map_head=0.99)
    assert found.model == "fedavg"
    assert found.headline.endswith("9 test patients are too few to tell the models apart")
    assert found.because == ("The models are compared from 10 test patients on.",)


@pytest.mark.parametrize("kind", [NONE, GAIN])
def test_a_run_without_the_global_model_compares_with_the_hospitals_own(kind):
    found = chosen({("map-head", "local"): (NONE, kind)}, main="map-head", local=0.8, map_head=0.85)
    assert found.model == ("map-head" if kind == GAIN else "local")


def test_pooled_training_is_no_model_that_a_hospital_could_use():
    found = chosen(over_local(NONE, NONE), local=0.7, fedavg=0.8, pooled=0.99)
    assert found.model == "fedavg"
    assert "pooled" not in " ".join(found.because)


def test_there_is_nothing_to_choose_of_one_model_or_without_a_comparison():
    assert chosen({}, fedavg=0.8, pooled=0.9) is None
    assert chosen({}, compared=False, local=0.8, fedavg=0.8) is None
