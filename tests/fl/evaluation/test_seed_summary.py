"""Mean and spread over seeds, from summaries written out by hand."""

from types import SimpleNamespace

import pytest

from fl.evaluation.group_evaluation import Estimate, GroupMeasures
from fl.evaluation.seed_summary import Spread, over_seeds, spread
from fl.evaluation.strategy_comparison import ComparisonRow, SitesAbove


def report(f1, auroc=0.8):
    plain = ("precision", "recall", "auprc", "brier", "ece")
    return GroupMeasures(
        macro_f1=Estimate(value=f1, low=None, high=None),
        macro_auroc=Estimate(value=auroc, low=None, high=None),
        **{f"macro_{name}": None for name in plain},
        accuracy=None,
        n_records=9,
        n_patients=3,
        macro_classes=(),
        classes={},
    )


def difference(value):
    row = {"strategy": "fedavg", "against": "local", "where": "central", "metric": "macro_f1"}
    found = {"value": value, "low": None, "high": None, "n_patients": 3}
    return ComparisonRow(**row, **found, sentence="...")


def sites_above(n_above, n_sites):
    row = {"strategy": "fedavg", "against": "local", "metric": "macro_f1", "low": None}
    return SitesAbove(**row, n_above=n_above, n_sites=n_sites, high=None, sentence="...")


def summary(central, sites, gap=None):
    strategy = SimpleNamespace(central=report(central), unseen=None, sites=sites)
    compared = (
        None
        if gap is None
        else SimpleNamespace(
            differences=[difference(gap)], sites_above=[sites_above(round(10 * gap), 8)]
        )
    )
    return SimpleNamespace(
        task="rhythm", synthetic=True, strategies={"fedavg": strategy}, comparison=compared
    )


def test_every_figure_has_its_mean_and_spread_over_the_seeds():
    one = summary(0.5, {"a": report(0.2), "b": report(0.6), "c": None})
    two = summary(0.7, {"a": report(None, None), "b": report(0.4)})
    found = over_seeds({3: one, 4: two})
    assert found.seeds == (3, 4)
    fedavg = found.strategies["fedavg"]
    central = fedavg["central"]["macro_f1"]
    assert central.values == (0.5, 0.7)
    assert (central.low_seed, central.high_seed) == (0.5, 0.7)
    assert (central.mean, central.sd) == pytest.approx((0.6, 0.02**0.5))
    assert fedavg["mean_site"]["macro_f1"].values == pytest.approx((0.4, 0.4))
    assert fedavg["worst_site"]["macro_f1"].values == (0.2, 0.4)
    assert fedavg["spread"]["macro_f1"].values == pytest.approx((0.2, 0.0))
    assert fedavg["site:a"]["macro_f1"].values == (0.2, None)
    assert "unseen" not in fedavg
    assert found.differences == ()


def test_differences_are_repeated_with_the_seeds():
    found = over_seeds({0: summary(0.5, {}, gap=0.1), 1: summary(0.5, {}, gap=0.3)})
    (row,) = found.differences
    assert (row.strategy, row.against, row.where) == ("fedavg", "local", "central")
    assert row.values == (0.1, 0.3)
    assert row.mean == pytest.approx(0.2)
    assert row.sentence == (
        "On the central test records, FedAvg's macro-F1 is .200 higher than local training (mean "
        "of 2 seeds, .100 to .300 higher)."
    )


def test_one_seed_has_no_spread_and_none_no_mean():
    assert spread([0.5]).sd is None
    none = dict.fromkeys(("mean", "low_seed", "high_seed", "sd"))
    assert spread([None, None]) == Spread(**none, values=(None, None))


def test_the_sites_above_are_counted_in_each_seed():
    found = over_seeds({0: summary(0.5, {}, gap=0.1), 1: summary(0.5, {}, gap=0.3)})
    (row,) = found.sites_above
    assert (row.n_above, row.n_sites) == ((1, 3), (8, 8))
    assert "at 1 of 8, 3 of 8 sites" in row.sentence
