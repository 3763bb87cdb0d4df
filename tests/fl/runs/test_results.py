"""Summaries come back from their files as they were, and a wrong file is named with its fault."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.measures import counts, group_measures, names, shares

from fl.evaluation.seed_summary import SeedDifference, SeedSummary, Spread
from fl.evaluation.strategy_comparison import Budget, Comparison, ComparisonRow
from fl.runs.results import (
    RunSummary,
    SiteMean,
    SiteSpread,
    TrainingSummary,
    WorstSite,
    read_seeds,
    read_summary,
    write_seeds,
    write_summary,
)
from fl.util.errors import DataError

thresholds = st.dictionaries(names, st.dictionaries(names, st.floats(0, 1), max_size=2), max_size=2)
sites = st.dictionaries(names, st.none() | group_measures(), max_size=2)
figures = st.floats(-1, 1)
SHARED = {
    "central": st.none() | group_measures(),
    "unseen": st.none() | group_measures(),
    "sites": sites,
    "thresholds": st.none() | thresholds,
    "best_round": st.none() | counts,
    "worst_site": st.none() | st.builds(WorstSite, site=names, macro_f1=st.floats(0, 1)),
    "site_mean": st.none() | st.builds(SiteMean, macro_f1=st.floats(0, 1), macro_auroc=shares),
    "spread": st.none() | st.builds(SiteSpread, macro_f1_sd=figures, macro_f1_range=figures),
}
OF_A_RUN = {"rounds": counts, "gradient_steps": counts, "lr": st.floats(1e-6, 1)}
OF_LOCAL = {
    "thresholds_by_site": st.dictionaries(names, st.none() | thresholds, max_size=2),
    "best_round_by_site": st.dictionaries(names, counts, max_size=2),
    "central_by_site": sites,
    "unseen_by_site": sites,
}
trainings = (
    st.builds(TrainingSummary, **SHARED)  # as a hospital writes it
    | st.builds(TrainingSummary, **SHARED, **OF_A_RUN)
    | st.builds(TrainingSummary, **SHARED, **OF_A_RUN, **OF_LOCAL)
)
rows = st.builds(
    ComparisonRow,
    strategy=names,
    against=names,
    where=st.sampled_from(["central", "mean_site", "site:site-1"]),
    metric=names,
    value=st.none() | figures,
    low=st.none() | figures,
    high=st.none() | figures,
    n_patients=counts,
    sentence=st.text(max_size=5),
)
budgets = st.builds(
    Budget, rounds=counts, local_epochs=counts, steps=st.dictionaries(names, counts, max_size=2)
)
comparisons = st.builds(
    Comparison, budget=budgets, differences=st.lists(rows, max_size=2).map(tuple)
)
OF_ALL = {
    "task": names,
    "synthetic": st.booleans(),
    "classes": st.lists(names).map(tuple),
    "strategies": st.dictionaries(names, trainings, max_size=2),
}
summaries = st.builds(RunSummary, **OF_ALL) | st.builds(
    RunSummary, **OF_ALL, comparison=comparisons
)
spread = dict.fromkeys(("mean", "low_seed", "high_seed", "sd"), st.none() | figures) | {
    "values": st.lists(st.none() | figures, max_size=3).map(tuple)
}
seed_summaries = st.builds(
    SeedSummary,
    seeds=st.lists(counts).map(tuple),
    task=names,
    synthetic=st.booleans(),
    strategies=st.dictionaries(
        names,
        st.dictionaries(names, st.dictionaries(names, st.builds(Spread, **spread), max_size=2)),
        max_size=2,
    ),
    differences=st.lists(
        st.builds(
            SeedDifference,
            **dict.fromkeys(("strategy", "against", "where", "metric", "sentence"), names),
            **spread,
        ),
        max_size=2,
    ).map(tuple),
)
big = settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow], deadline=None)


@big
@given(summaries)
def test_a_summary_comes_back_as_it_was(tmp_path_factory, summary):
    folder = tmp_path_factory.mktemp("run")
    write_summary(folder, summary)
    found = read_summary(folder)
    assert found == summary
    assert found.to_json() == summary.to_json()


@big
@given(seed_summaries)
def test_the_summary_of_seeds_comes_back_as_it_was(tmp_path_factory, summary):
    folder = tmp_path_factory.mktemp("run")
    write_seeds(folder, summary)
    assert read_seeds(folder) == summary


TRAINING = {
    **dict.fromkeys(("central", "unseen", "thresholds", "worst_site", "site_mean", "spread")),
    "sites": {"site-1": {}},
    "best_round": 3,
}
SUMMARY = {
    "task": "rhythm",
    "synthetic": False,
    "classes": ["AF"],
    "strategies": {"fedavg": TRAINING},
}


def written(folder, content):
    (folder / "summary.json").write_text(json.dumps(content))
    return folder


def test_what_was_not_given_is_not_written_and_a_site_without_measures_is_empty(tmp_path):
    found = read_summary(written(tmp_path, SUMMARY))
    assert found.strategies["fedavg"].sites == {"site-1": None}
    assert found.strategies["fedavg"].rounds is None
    write_summary(tmp_path, found)
    assert json.loads((tmp_path / "summary.json").read_text()) == SUMMARY


def test_keys_are_in_the_order_of_the_contract(tmp_path):
    write_summary(tmp_path, read_summary(written(tmp_path, SUMMARY)))
    found = json.loads((tmp_path / "summary.json").read_text())
    assert list(found) == ["task", "synthetic", "classes", "strategies"]
    keys = [*("central", "unseen", "sites", "thresholds", "best_round"), "worst_site"]
    assert list(found["strategies"]["fedavg"]) == [*keys, "site_mean", "spread"]


def without(content, key):
    return {name: value for name, value in content.items() if name != key}


FAULTS = {
    "no list of classes": (without(SUMMARY, "classes"), "classes is missing"),
    "a training without sites": (
        SUMMARY | {"strategies": {"fedavg": without(TRAINING, "sites")}},
        "strategies.fedavg.sites is missing",
    ),
    "a text for a number": (
        SUMMARY | {"strategies": {"fedavg": TRAINING | {"best_round": "last"}}},
        "strategies.fedavg.best_round is 'last'",
    ),
    "measures that are none": (
        SUMMARY | {"strategies": {"fedavg": TRAINING | {"central": {"macro_f1": 0.5}}}},
        "strategies.fedavg.central.",
    ),
    "nan": (
        SUMMARY | {"strategies": {"fedavg": TRAINING | {"lr": float("nan")}}},
        "strategies.fedavg.lr is nan",
    ),
    "a list": ([1, 2], "holds no object"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_summary_is_named_with_what_is_wrong(tmp_path, fault):
    content, words = FAULTS[fault]
    with pytest.raises(DataError) as caught:
        read_summary(written(tmp_path, content))
    assert str(caught.value).startswith(f"{tmp_path / 'summary.json'}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_summary_is_named(tmp_path):
    with pytest.raises(DataError, match=r"summary\.json: cannot be read"):
        read_summary(tmp_path)
    (tmp_path / "seeds.json").write_text("{")
    with pytest.raises(DataError, match=r"seeds\.json: is not valid JSON"):
        read_seeds(tmp_path)
