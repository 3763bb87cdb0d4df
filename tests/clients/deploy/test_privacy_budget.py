"""A hospital's privacy budget: runs are added up, and one that would not fit is refused before."""

import json

import pytest

from clients.deploy.site_policy.policy_file import SitePolicy
from clients.deploy.site_policy.privacy_budget import LEDGER, charge, read_ledger, spent_budget
from fl.config.run_config import checked
from fl.privacy.differential_privacy.guarantee import with_noise
from fl.privacy.egress_policy import PolicyRefusal

POLICY = SitePolicy(tasks=["rhythm"], epsilon_budget=10.0)


def private(epsilon=4.0, **settings):
    given = {"dp": "patient", "epsilon": epsilon, "rounds": 3, "local_epochs": 1}
    return with_noise(checked(given | settings))


def train(folder, run="r-1", config=None, policy=POLICY, times=1):
    for _ in range(times):
        charge(folder, policy, run, config or private(), "train", "")


def test_rounds_are_charged_as_they_are_asked_for(tmp_path):
    train(tmp_path)
    first = spent_budget(tmp_path)[0]
    train(tmp_path, times=2)
    whole, delta = spent_budget(tmp_path)
    assert 0 < first < whole <= 4.0
    assert whole == pytest.approx(4.0, rel=0.01)
    assert delta == 1e-5


def test_a_run_that_would_not_fit_is_refused_before_its_first_round(tmp_path):
    train(tmp_path, "r-1", times=3)
    train(tmp_path, "r-2", times=3)
    before = (tmp_path / LEDGER).read_text()
    with pytest.raises(PolicyRefusal, match=r"budget: the run would spend epsilon 4; 7\.99"):
        train(tmp_path, "r-3")
    assert (tmp_path / LEDGER).read_text() == before


def test_a_round_that_is_done_again_is_charged_again(tmp_path):
    train(tmp_path, times=3)
    once = spent_budget(tmp_path)[0]
    train(tmp_path)
    assert spent_budget(tmp_path)[0] > once


def test_validation_patients_are_others_so_one_validation_costs_nothing_more(tmp_path):
    train(tmp_path, times=3)
    spent = spent_budget(tmp_path)[0]
    charge(tmp_path, POLICY, "r-1", private(), "evaluate", "val")
    assert spent_budget(tmp_path)[0] == pytest.approx(max(spent, 4.0))
    charge(tmp_path, POLICY, "r-1", private(), "evaluate", "val")
    assert spent_budget(tmp_path) == pytest.approx((8.0, 2e-5))
    with pytest.raises(PolicyRefusal, match="budget"):
        charge(tmp_path, POLICY, "r-1", private(), "evaluate", "val")


def test_a_test_and_first_words_cost_nothing(tmp_path):
    charge(tmp_path, POLICY, "r-1", private(), "evaluate", "test")
    charge(tmp_path, POLICY, "r-1", private(), "query", "")
    assert spent_budget(tmp_path) == (0.0, 0.0)


def test_a_run_without_privacy_does_not_fit_in_any_budget(tmp_path):
    with pytest.raises(PolicyRefusal, match="budget: a run without --dp patient"):
        train(tmp_path, config=checked({}))
    train(tmp_path, config=checked({}), policy=SitePolicy(tasks=["rhythm"]))
    assert not (tmp_path / LEDGER).exists()


def test_delta_has_a_budget_too(tmp_path):
    policy = POLICY.model_copy(update={"epsilon_budget": 1000.0, "delta_budget": 1.5e-5})
    train(tmp_path, "r-1", policy=policy)
    with pytest.raises(PolicyRefusal, match="would spend delta 1e-05"):
        train(tmp_path, "r-2", policy=policy)


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_a_coordinator_that_promises_more_than_its_noise_keeps_is_refused(tmp_path, noise):
    config = private().model_copy(update={"noise_multiplier": noise})
    with pytest.raises(PolicyRefusal, match="the run promises 4"):
        train(tmp_path, config=config, policy=SitePolicy(tasks=["rhythm"]))


def test_a_run_cannot_go_on_with_other_noise(tmp_path):
    train(tmp_path)
    with pytest.raises(PolicyRefusal, match="other noise"):
        train(tmp_path, config=private(3.0))


@pytest.mark.parametrize("text", ["{", "[]", '{"r-1": {"epsilon": "much"}}'])
def test_a_ledger_that_cannot_be_read_stops_every_run(tmp_path, text):
    (tmp_path / LEDGER).write_text(text)
    with pytest.raises(PolicyRefusal, match="what is spent is not known"):
        train(tmp_path)
    assert (tmp_path / LEDGER).read_text() == text


def test_the_ledger_is_readable_by_the_site_alone_and_names_what_was_spent(tmp_path):
    train(tmp_path)
    assert (tmp_path / LEDGER).stat().st_mode & 0o777 == 0o600
    assert json.loads((tmp_path / LEDGER).read_text())["r-1"]["rounds"] == 1
    assert read_ledger(tmp_path)["r-1"].validations == 0
