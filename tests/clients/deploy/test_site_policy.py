"""What a coordinator may not ask of a hospital is refused by a code, and touches nothing."""

import tomllib

import numpy as np
import pytest
from flwr.app import Context, RecordDict, UserConfig
from flwr.common.config import parse_config_args
from support.rules import even_rule

import fl
from clients.app import app
from clients.deploy.__main__ import main
from clients.deploy.site_folder import SiteFolder, ensure_policy
from clients.deploy.site_policy import request_rate
from clients.deploy.site_policy.policy_file import (
    PERMITTED,
    POLICY,
    SitePolicy,
    policy_of,
    read_policy,
    write_policy,
)
from clients.deploy.site_policy.request_rate import REQUESTS, count_request
from clients.deploy.site_settings import SiteSettings
from clients.local_objectives import LOCAL_OBJECTIVES
from fl.config.strategy_traits import strategy_traits
from fl.ecg.tasks import RHYTHM
from fl.messages.flower_arrays import packed, to_array_record
from fl.messages.flower_codec import (
    evaluation_request,
    site_info_request,
    training_request,
)
from fl.messages.invitation import Invitation
from fl.messages.job import Job
from fl.privacy.egress_policy import POLICY_CODES, REASONS, PolicyRefusal
from fl.util.errors import ConfigError
from server.engines.in_process import LocalGrid

WEIGHTS = {"w": np.ones(2, np.float32)}


@pytest.fixture
def site(tmp_path):
    """A hospital whose recordings nobody will read: what is asked of it is refused before."""
    folder = tmp_path / "site"
    folder.mkdir()
    write_policy(folder / POLICY, "rhythm")
    return SiteSettings(site="site-1", data_dir=str(tmp_path / "none"), folder=str(folder))


def job(settings=None, **changed):
    config = {"model": "resnet1d", "rounds": 9, "local_epochs": 1, "batch_size": 4}
    config |= settings or {}
    given = {"run": "r-1", "version": fl.__version__, "strategy": config.get("strategy", "fedavg")}
    return Job(config=config, **(given | changed))


def training(asked, number=1):
    return training_request(asked, to_array_record(WEIGHTS), 7, number)


def evaluation(asked, split="val", number=1):
    rule = even_rule(RHYTHM.classes)
    return evaluation_request(asked, to_array_record(WEIGHTS), 7, number, split, rule)


def answer(site, make):
    """The site's answer to a request, which is made within a run as Flower wants it."""
    LocalGrid(app, 1)
    node = UserConfig(parse_config_args([site.node_config()]))
    context = Context(
        run_id=1, node_id=7, node_config=node, state=RecordDict(), run_config=UserConfig()
    )
    return app(packed(make()), context)


def refused_by(site, make):
    """The code of the policy by which a request is refused."""
    reason = answer(site, make).error.reason
    return {REASONS[code]: code for code in POLICY_CODES}.get(reason, reason)


def files_of(folder):
    """Everything in a folder but the site's audit log, in which every request is noted."""
    found = (str(path.relative_to(folder)) for path in folder.rglob("*"))
    return sorted(name for name in found if not name.startswith("site/audit"))


@pytest.mark.parametrize("name", ["/tmp/x", "../../x", "fedavg/../../x", "", "local", "a\x00b"])
def test_a_strategy_that_is_a_path_writes_nowhere(site, tmp_path, name):
    before = files_of(tmp_path)
    for make in (training, evaluation):
        assert refused_by(site, lambda make=make: make(job(strategy=name))) == "names"
    assert refused_by(site, lambda: training(job({"strategy": name}))) == "names"
    assert files_of(tmp_path) == before


def test_a_run_that_is_a_path_or_a_link_out_of_the_folder_writes_nowhere(site, tmp_path):
    runs = tmp_path / "site" / "runs"
    runs.mkdir()
    (runs / "away").symlink_to(tmp_path / "elsewhere")
    for run in ("/tmp/x", "../x", "a/b", "away", "."):
        assert refused_by(site, lambda run=run: training(job(run=run))) == "names"
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"model": "../resnet1d"}, "names"),
        ({"local_epochs": 10**6}, "epochs"),
        ({"personal_epochs": 10**6}, "epochs"),
        ({"finetune_epochs": 10**6}, "epochs"),
        ({"rounds": 10**6}, "rounds"),
        ({"batch_size": 1}, "batch"),
        ({"clients": 1}, "sites"),
        ({"task": "beat"}, "task"),
        ({"strategy": "scaffold"}, "strategy"),
        ({"optimizer": "sgd"}, "gradient-steps"),
        ({"optimizer": "sgd", "momentum": 0.9}, "gradient-steps"),
    ],
)
def test_settings_beyond_the_policy_are_refused_in_answer_to_every_message(site, settings, code):
    asked = job(settings)
    for make in (lambda: site_info_request(asked, 7), lambda: training(asked)):
        assert refused_by(site, make) == code


def test_training_records_are_no_split_to_evaluate_on(site):
    for split in ("train", "../val", ""):
        assert refused_by(site, lambda split=split: evaluation(job(), split)) == "split"


@pytest.mark.parametrize("number", [0, -1, 10, 10**12])
def test_a_round_that_the_run_does_not_have_is_refused(site, number):
    assert refused_by(site, lambda: training(job(), number)) == "rounds"


def test_sixty_evaluations_in_ten_seconds_are_not_served(site):
    answers = [refused_by(site, lambda: evaluation(job())) for _ in range(32)]
    # Those within the limit fail later: there are no recordings here.
    assert answers == [REASONS["settings"]] * 30 + ["evaluations"] * 2
    assert refused_by(site, lambda: training(job())) == REASONS["settings"]


def test_an_hour_later_requests_are_served_again(tmp_path, monkeypatch):
    now = [1e9]
    monkeypatch.setattr(request_rate.time, "time", lambda: now[0])
    assert [count_request(tmp_path, "evaluations", 2) for _ in range(3)] == [True, True, False]
    assert count_request(tmp_path, "trainings", 1)
    now[0] += 3601
    assert count_request(tmp_path, "evaluations", 1)
    now[0] -= 7200  # the clock was put back
    assert count_request(tmp_path, "evaluations", 1)
    (tmp_path / REQUESTS).write_text("{")
    assert count_request(tmp_path, "evaluations", 1)
    assert not count_request(tmp_path, "evaluations", 0)


def test_the_policy_is_read_at_every_request(site, tmp_path):
    path = tmp_path / "site" / POLICY
    assert refused_by(site, lambda: training(job())) == REASONS["settings"]
    path.write_text(path.read_text().replace("most_epochs = 20", "most_epochs = 0"))
    assert refused_by(site, lambda: training(job())) == "policy-file"
    path.write_text(path.read_text().replace("most_epochs = 0", "most_epochs = 1"))
    assert refused_by(site, lambda: training(job({"local_epochs": 2}))) == "epochs"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("tasks = [", "is no TOML"),
        ("", "tasks is missing"),
        ("tasks = 'rhythm'", "tasks is 'rhythm'"),
        ("tasks = ['rhythm']\nmost_epoch = 5", "most_epoch is 5"),
        ("tasks = ['rhythm']\nmost_epochs = '5'", "most_epochs is '5'"),
        ("tasks = ['rhythm']\nprivacy = 'patient'", "privacy is 'patient'"),
        (None, "cannot be read"),
    ],
)
def test_a_policy_that_cannot_be_used_refuses_everything_in_a_clear_line(
    site, tmp_path, caplog, content, reason
):
    path = tmp_path / "site" / POLICY
    path.unlink()
    if content is not None:
        path.write_text(content)
    for make in (lambda: site_info_request(job(), 7), lambda: training(job())):
        assert refused_by(site, make) == "policy-file"
    line = caplog.records[-1].getMessage()
    assert str(path) in line
    assert reason in line
    assert "every request is refused" in line
    assert caplog.records[-1].exc_info is None
    with pytest.raises(PolicyRefusal):
        policy_of(path.parent)


def test_a_refusal_names_a_rule_and_never_its_value(site, tmp_path, caplog):
    path = tmp_path / "site" / POLICY
    path.write_text(path.read_text().replace("most_epochs = 20", "most_epochs = 17"))
    reason = answer(site, lambda: training(job({"local_epochs": 19}))).error.reason
    assert reason == "its policy refuses the request (epochs); its own log says why"
    assert "19 epochs are asked for; permitted: 17" in caplog.text


def test_the_defaults_permit_every_strategy_but_those_of_plain_gradient_steps():
    plain = {name for name in LOCAL_OBJECTIVES if strategy_traits(name).plain_sgd}
    assert set(PERMITTED) == set(LOCAL_OBJECTIVES) - plain


def test_the_file_that_is_written_is_read_as_the_defaults_and_says_what_each_means(tmp_path):
    path = tmp_path / POLICY
    write_policy(path, "rhythm")
    assert read_policy(path) == SitePolicy(tasks=["rhythm"])
    assert set(tomllib.loads(path.read_text())) == set(SitePolicy.model_fields)
    for field in SitePolicy.model_fields.values():
        assert f"# {field.description}\n" in path.read_text()


def test_a_hospitals_own_policy_is_never_overwritten(tmp_path, capsys):
    Invitation(federation="f", site="leeds", address="127.0.0.1:1", task="rhythm", ca="none").write(
        tmp_path / "invitation.toml"
    )
    home = tmp_path / "home"
    command = ["init", str(tmp_path / "invitation.toml"), "--site", "leeds", "--home", str(home)]
    assert main(command) == 0
    path = home / POLICY
    assert f"{path}: written" in capsys.readouterr().out
    path.write_text(path.read_text().replace("most_rounds = 500", "most_rounds = 3"))
    assert main(command) == 0
    assert read_policy(path).most_rounds == 3
    path.write_text("odd")
    with pytest.raises(ConfigError, match="is no TOML"):
        ensure_policy(SiteFolder(home, "leeds"), "rhythm")


def test_a_newer_coordinator_is_refused_for_its_version(site):
    asked = job({"model": "of-tomorrow"}, version="9.9")
    assert refused_by(site, lambda: site_info_request(asked, 7)) == REASONS["version"]
