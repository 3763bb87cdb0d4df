"""Mean and spread over seeds, from summaries written out by hand."""

import pytest

from fl.evaluation.seed_summary import over_seeds, spread


def report(f1, auroc=0.8):
    return {"macro_f1": {"value": f1}, "macro_auroc": {"value": auroc}}


def difference(value):
    row = {"strategy": "fedavg", "against": "local", "where": "central", "metric": "macro_f1"}
    return {**row, "value": value, "low": None, "high": None, "n_patients": 3, "sentence": "..."}


def summary(central, sites, gap=None):
    strategy = {"central": report(central), "unseen": None, "sites": sites}
    made = {"task": "rhythm", "synthetic": True, "strategies": {"fedavg": strategy}}
    return made if gap is None else made | {"comparison": {"differences": [difference(gap)]}}


def test_every_figure_has_its_mean_and_spread_over_the_seeds():
    one = summary(0.5, {"a": report(0.2), "b": report(0.6), "c": {}})
    two = summary(0.7, {"a": report(None, None), "b": report(0.4)})
    found = over_seeds({3: one, 4: two})
    assert found["seeds"] == [3, 4]
    fedavg = found["strategies"]["fedavg"]
    central = fedavg["central"]["macro_f1"]
    assert central.pop("values") == [0.5, 0.7]
    assert central == pytest.approx(
        {"mean": 0.6, "low_seed": 0.5, "high_seed": 0.7, "sd": 0.02**0.5}
    )
    assert fedavg["mean_site"]["macro_f1"]["values"] == pytest.approx([0.4, 0.4])
    assert fedavg["worst_site"]["macro_f1"]["values"] == [0.2, 0.4]
    assert fedavg["spread"]["macro_f1"]["values"] == pytest.approx([0.2, 0.0])
    assert fedavg["site:a"]["macro_f1"]["values"] == [0.2, None]
    assert "unseen" not in fedavg
    assert found["differences"] == []


def test_differences_are_repeated_with_the_seeds():
    found = over_seeds({0: summary(0.5, {}, gap=0.1), 1: summary(0.5, {}, gap=0.3)})
    (row,) = found["differences"]
    assert (row["strategy"], row["against"], row["where"]) == ("fedavg", "local", "central")
    assert row["values"] == [0.1, 0.3]
    assert row["mean"] == pytest.approx(0.2)
    assert row["sentence"].startswith("fedavg gains +.200 macro-F1 (+.100 to +.300, seeds: 2)")


def test_one_seed_has_no_spread_and_none_no_mean():
    assert spread([0.5])["sd"] is None
    assert spread([None, None]) == {
        "mean": None,
        "low_seed": None,
        "high_seed": None,
        "sd": None,
        "values": [None, None],
    }
