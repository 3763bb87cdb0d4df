"""Whatever a request is and does, a hospital answers it with a general reason, and the next one."""

import asyncio
import time
from types import SimpleNamespace

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict, UserConfig
from flwr.common.config import parse_config_args
from flwr.supercore.inflatable.inflatable_utils import ObjectPullError
from flwr.supernode.runtime import run_clientapp

import clients.app
import fl
from clients.app import app
from clients.deploy.site_policy.policy_file import POLICY, write_policy
from clients.deploy.site_settings import SiteSettings
from clients.deploy.task_runner_internals import TaskRunner
from fl.messages.flower_arrays import packed, to_array_record
from fl.messages.flower_codec import site_info_request, training_request
from fl.messages.job import Job
from fl.privacy.egress_policy import REASONS
from fl.util.child_process import ChildProcess
from server.engines.in_process import LocalGrid


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no text")


ERRORS = [
    *(ValueError("x"), KeyError("x"), RecursionError(), MemoryError(), OverflowError()),
    *(AssertionError(), StopIteration(), NotImplementedError(), Unprintable()),
    *(OSError(28, "No space left on device"), UnicodeDecodeError("utf-8", b"x", 0, 1, "bad")),
    *(np.linalg.LinAlgError(), ExceptionGroup("several", [ValueError()])),
    *(SystemExit(3), GeneratorExit(), asyncio.CancelledError(), BaseException("bare")),
]
TYPES = ["train.other", "evaluate.other", "query.other"]
NO_TYPES = ["train.a.b", "train.", "other", "", "a\nb", "\x1b[2J"]  # Flower makes no reply to these


@pytest.fixture
def site(tmp_path):
    """How a hospital is known to the ClientApp; its folder has a policy."""
    LocalGrid(app, 1)  # messages are made within a run, as Flower wants it
    write_policy(tmp_path / POLICY, "rhythm")
    settings = SiteSettings(site="site-1", data_dir=str(tmp_path / "none"), folder=str(tmp_path))
    node = UserConfig(parse_config_args([settings.node_config()]))
    return Context(
        run_id=1, node_id=7, node_config=node, state=RecordDict(), run_config=UserConfig()
    )


def job():
    config = {"model": "resnet1d", "rounds": 9, "local_epochs": 1, "batch_size": 4}
    return Job(config=config, run="r-1", version=fl.__version__, strategy="fedavg")


def request(kind=None):
    """A request, or one of a kind that no coordinator of this program sends."""
    made = training_request(job(), to_array_record({"w": np.ones(2, np.float32)}), 7, 1)
    if kind is not None:
        vars(made.metadata)["_message_type"] = kind
        assert made.metadata.message_type == kind
    return packed(made)


@pytest.mark.parametrize("kind", TYPES)
def test_a_message_of_an_unknown_type_is_answered(site, kind, caplog):
    assert app(request(kind), site).error.reason == REASONS["failed"]
    assert "a request failed" in caplog.text


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_any_error_is_answered_by_a_general_reason(site, monkeypatch, caplog, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(clients.app, "require_permitted", fail)
    assert app(request(), site).error.reason in REASONS.values()
    assert "a request failed" in caplog.text


def test_a_message_without_content_is_answered(site):
    made = site_info_request(job(), 7)
    made.content = RecordDict()
    assert app(made, site).error.reason == REASONS["failed"]


def test_ctrl_c_ends_the_site_all_the_same(site, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(clients.app, "require_permitted", fail)
    with pytest.raises(KeyboardInterrupt):
        app(request(), site)


@pytest.fixture
def runner(site, monkeypatch):
    """A `TaskRunner` without a SuperNode: tasks come from `tasks`, answers go to `pushed`."""
    made = TaskRunner(app, "127.0.0.1:1", b"0" * 32)
    made.close()
    tasks, pushed, ended = [], [], []

    def pull(_):
        task = tasks.pop(0)
        if isinstance(task, BaseException):
            raise task
        return task, site, None, None

    client = SimpleNamespace(
        AcquireTask=lambda _: SimpleNamespace(token="t" if tasks else ""), close=lambda: None
    )
    made._client, made._connect = client, lambda *_: client
    monkeypatch.setattr(run_clientapp, "pull_task_input", pull)
    monkeypatch.setattr(run_clientapp, "push_message", lambda _, reply, __: pushed.append(reply))
    monkeypatch.setattr(run_clientapp, "push_task_output", lambda *given: ended.append(given[2]))
    monkeypatch.setattr("clients.deploy.task_runner_internals._send_heartbeat", lambda _: True)
    return SimpleNamespace(take=made.take, client=client, tasks=tasks, pushed=pushed, ended=ended)


@pytest.mark.parametrize("kind", TYPES + NO_TYPES)
def test_after_an_unknown_type_the_next_request_is_served(runner, kind, caplog):
    runner.tasks += [request(kind), request()]
    runner.take()
    assert "a request failed" in caplog.text
    runner.take()
    assert len(runner.pushed) == (1 if kind in NO_TYPES else 2)
    assert all(isinstance(reply, Message) for reply in runner.pushed)
    assert runner.ended == ["failed" if kind in NO_TYPES else "completed", "completed"]


@pytest.mark.parametrize("error", [ValueError("x"), OSError(28, "full"), ObjectPullError("x", "y")])
def test_after_a_message_that_cannot_be_read_the_next_request_is_served(runner, caplog, error):
    runner.tasks += [error, request("train.other")]
    runner.take()
    runner.take()
    assert "a request was broken off" in caplog.text
    assert len(runner.pushed) == 1
    assert runner.ended == ["failed", "completed"]


def test_an_answer_that_cannot_be_sent_is_given_up(runner, monkeypatch, caplog):
    def fail(*_):
        raise OverflowError("too long")

    monkeypatch.setattr(run_clientapp, "push_message", fail)
    runner.tasks += [request("train.other")]
    runner.take()
    assert "a request was broken off" in caplog.text
    assert runner.ended == ["failed"]


@pytest.mark.parametrize("error", [ValueError("no protocol buffer"), OSError(24, "many files")])
def test_a_supernode_that_answers_nonsense_is_asked_again(runner, caplog, error):
    def fail(_):
        raise error

    runner.client.AcquireTask = fail
    runner.take()
    assert "no request can be taken" in caplog.text


def test_a_line_that_cannot_be_handled_does_not_stop_the_program_that_wrote_it(caplog):
    def fail(line):
        raise OSError(28, "No space left on device")

    child = ChildProcess(["echo", "a line"], {"PATH": "/usr/bin:/bin"}, fail)
    give_up = time.monotonic() + 10
    while child.ended is None and time.monotonic() < give_up:
        time.sleep(0.01)
    child.stop()
    assert child.ended == 0
    assert "a line was not handled" in caplog.text
