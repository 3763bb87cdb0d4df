"""Three hospitals under secure aggregation: the bits of a plain run, and no update in clear."""

import hashlib
import json

import pytest
from support.federations import SITES, Federation, facts, synthetic_folders

from fl.training.state_dict import load_weights

# A whole deployment with three sites and two runs: about two minutes.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
FLAGS = ("--model", "cnn1d", "--rounds", "2", "--local-epochs", "1", "--timeout", "300")


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    base = tmp_path_factory.mktemp("secure")
    with Federation(base) as made:
        made.flags = synthetic_folders(base)
        made.serve()
        made.admit_all()
        yield made


def digest(run):
    weights = load_weights(run / "weights" / "fedavg-last.safetensors")
    total = hashlib.sha256()
    for name in sorted(weights):
        total.update(name.encode() + weights[name].tobytes())
    return total.hexdigest()


def test_without_each_others_keys_the_hospitals_refuse_and_the_reason_is_named(federation):
    found = federation.run(
        "server.deploy", "run", federation.folder, *FLAGS, "--secure-aggregation", "--name", "none"
    )
    assert found.returncode == 1
    assert "it refuses a step of the secure sum" in found.stdout + found.stderr
    assert "No site's update is revealed" in found.stdout + found.stderr


def test_a_secure_run_is_the_plain_one_bit_for_bit(federation):
    for site in SITES:
        others = [federation.home(other) / f"{other}.pub" for other in SITES if other != site]
        invitation = federation.folder / "invitations" / f"{site}.toml"
        home = federation.home(site)
        words = ("trust", invitation, "--site", site, "--home", home, *others)
        federation.do("clients.deploy", *words)
    for name, more in (("plain", ()), ("secure", ("--secure-aggregation",))):
        federation.do("server.deploy", "run", federation.folder, *FLAGS, *more, "--name", name)
    runs = federation.base / "runs"
    assert digest(runs / "plain") == digest(runs / "secure")
    record = facts(runs / "secure" / "run.json")
    assert (record["status"], record["failures"]) == ("completed", [])
    lines = (federation.home(SITES[0]) / "audit").glob("*.jsonl")
    secure = [json.loads(line) for path in lines for line in path.read_text().splitlines()]
    steps = {line["secure"]["step"] for line in secure if "secure" in line}
    assert steps == {"keys", "letters", "vector", "confirm", "reveal"}


def test_a_private_run_spends_the_budget_of_each_hospital_and_one_that_exceeds_it_is_refused(
    federation,
):
    for site in SITES:
        path = federation.home(site) / "site_policy.toml"
        text = path.read_text().replace("epsilon_budget = 0.0", "epsilon_budget = 12.0")
        path.write_text(text)
    private = ("--dp", "patient", "--epsilon", "8")
    federation.do("server.deploy", "run", federation.folder, *FLAGS, *private, "--name", "dp")
    run = federation.base / "runs" / "dp"
    record = facts(run / "run.json")
    assert record["privacy"]["epsilon"] == 8
    sites = json.loads((run / "summary.json").read_text())["strategies"]["fedavg"]["sites"]
    assert not any(sites.values())  # no measure of a test has left
    for site in SITES:
        (spent,) = json.loads((federation.home(site) / "privacy-budget.json").read_text()).values()
        assert (spent["rounds"], spent["validations"]) == (2, 1)
        assert 7.9 < spent["epsilon"] <= 8
        own = facts(federation.home(site) / "runs" / record["run"] / "run.json")
        assert own["privacy"]["spent_epsilon"] == spent["epsilon"]
    for words, more in ((private, "again"), ((), "plain-again")):
        found = federation.run(
            "server.deploy", "run", federation.folder, *FLAGS, *words, "--name", more
        )
        assert found.returncode == 1
        assert "its policy refuses the request (budget)" in found.stdout + found.stderr
