"""A site's audit log: what was asked and what left, and never a record or a patient."""

import errno
import json

import numpy as np
import pytest
from flwr.app import Context, RecordDict, UserConfig
from flwr.common.config import parse_config_args

import clients.app
import fl
from clients.app import app
from clients.deploy.keys import ensure_key
from clients.deploy.site_folder import SiteFolder
from clients.deploy.site_policy.policy_file import POLICY, write_policy
from clients.deploy.site_settings import SiteSettings
from fl.messages.flower_arrays import packed, to_array_record
from fl.messages.flower_codec import (
    site_info_request,
)
from fl.messages.job import Job
from fl.messages.message_facts import reply_facts
from fl.messages.payloads import SiteInfo
from fl.messages.reply_signature import is_signed, take_signature
from fl.privacy.audit_log import log_file
from fl.privacy.audit_log.digests import text_digest
from fl.privacy.audit_log.log_file import log_files
from fl.privacy.audit_log.verification import verify
from fl.privacy.egress_policy import REASONS
from fl.util.errors import DataError
from server.engines.in_process import LocalGrid


@pytest.fixture
def own(tmp_path):
    """A hospital without recordings, in whose place `opened` counts how often it was opened."""
    write_policy(tmp_path / POLICY, "rhythm")
    return SiteSettings(site="site-1", data_dir=str(tmp_path / "none"), folder=str(tmp_path))


@pytest.fixture
def opened(monkeypatch):
    """Lets the hospital answer first words; holds a line for each time that it was opened."""
    found = []
    info = SiteInfo(site="site-1", n_train=9, n_val=8, n_test=7, n_records=99)
    monkeypatch.setattr(clients.app.deployed_site, "open_site", lambda *_: found.append("opened"))
    monkeypatch.setattr(clients.app, "site_info", lambda *_: info)
    return found


def job(**settings):
    config = {"seed": 3, "model": "resnet1d", "rounds": 1, "local_epochs": 1, "batch_size": 4}
    return Job(config=config | settings, strategy="fedavg", run="r-1", version=fl.__version__)


def answer(own, message):
    node = UserConfig(parse_config_args([own.node_config()]))
    given = {"state": RecordDict(), "run_config": UserConfig()}
    return app(packed(message), Context(run_id=1, node_id=7, node_config=node, **given))


def query(**settings):
    LocalGrid(app, 1)
    return site_info_request(job(**settings), 7)


def lines_of(own_folder):
    files = log_files(own_folder / "audit")
    return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]


def test_a_request_and_its_answer_are_two_lines(own, tmp_path, opened):
    message = query()
    text = str(message.content.config_records["config"]["job"])
    assert not answer(own, message).has_error()
    ask, reply = lines_of(tmp_path)
    assert (ask["event"], ask["kind"], ask["run"]) == ("asked", "query", "r-1")
    assert (ask["site"], ask["version"]) == ("site-1", fl.__version__)
    assert (ask["flower-run"], ask["from-node"]) == (1, message.metadata.src_node_id)
    assert ask["settings"]["model"] == "resnet1d"
    assert ask["settings-sha256"] == text_digest(text)
    assert (reply["event"], reply["permitted"]) == ("answered", True)
    assert reply["numbers"] == {"n-train": 9, "n-val": 8, "n-test": 7, "n-records": 99}
    assert verify(tmp_path / "audit").broken == ""


def test_an_answer_is_signed_with_the_sites_key(own, tmp_path, opened):
    folder = SiteFolder(tmp_path, "site-1")
    ensure_key(folder)
    reply = answer(own, query())
    signature = take_signature(reply)
    public = folder.public_key.read_text()
    assert is_signed(reply, reply_facts(reply), signature, public)
    reply.content["metrics"]["n-train"] = 10
    assert not is_signed(reply, reply_facts(reply), signature, public)


def refused(own, folder, message, code):
    reply = answer(own, message)
    assert reply.error.reason == REASONS[code]
    *_, ask, no = lines_of(folder)
    assert (ask["event"], no["event"], no["code"]) == ("asked", "refused", code)
    assert no["permitted"] is False
    assert no["message"] == ask["message"]
    return ask, no


def test_a_request_that_the_policy_does_not_permit_is_two_lines(own, tmp_path):
    ask, _ = refused(own, tmp_path, query(local_epochs=10**6), "epochs")
    assert ask["settings"]["local_epochs"] == 10**6
    before = ask["policy-sha256"]
    policy = tmp_path / POLICY
    policy.write_text(policy.read_text() + "\n# changed\n")
    ask, _ = refused(own, tmp_path, query(local_epochs=10**6), "epochs")
    assert ask["policy-sha256"] != before


def test_an_errors_text_stays_out_of_the_log(own, tmp_path, monkeypatch):
    def fail(*_):
        raise DataError("record S00001 of Jane Doe")

    monkeypatch.setattr(clients.app, "require_permitted", fail)
    assert answer(own, query()).error.reason == REASONS["data"]
    assert [(line["event"], line.get("code")) for line in lines_of(tmp_path)] == [
        ("asked", None),
        ("failed", "data"),
    ]
    assert "Jane" not in next((tmp_path / "audit").glob("*.jsonl")).read_text()


def odd_requests():
    """Requests that no coordinator of this program sends."""
    without = query()
    without.content = RecordDict()
    yield without
    unreadable = query()
    unreadable.content.config_records["config"]["job"] = "{" * 10**5
    yield unreadable
    named = query()
    named.content["event"] = to_array_record({"previous": np.ones(2, np.float32)})
    yield named


def test_any_request_leaves_a_log_that_is_whole(own, tmp_path):
    for number, message in enumerate(odd_requests(), 1):
        answer(own, message)
        assert verify(tmp_path / "audit").broken == ""
        assert len(lines_of(tmp_path)) == 2 * number


@pytest.fixture
def full_disk(monkeypatch):
    def write(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(log_file.os, "write", write)
        yield patch


def test_on_a_full_disk_nothing_is_answered_and_nothing_is_opened(own, opened, full_disk, caplog):
    assert answer(own, query()).error.reason == REASONS["audit"]
    assert opened == []
    assert "cannot be written" in caplog.text


def test_an_answer_that_cannot_be_recorded_does_not_leave(own, opened, tmp_path, monkeypatch):
    from clients.deploy.site_policy.request_audit import RequestAudit

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    answered = RequestAudit.answered

    def on_full_disk(audit, reply):
        with monkeypatch.context() as patch:
            patch.setattr(log_file.os, "write", full)
            answered(audit, reply)

    monkeypatch.setattr(RequestAudit, "answered", on_full_disk)
    assert answer(own, query()).error.reason == REASONS["audit"]
    events = [line["event"] for line in lines_of(tmp_path)]
    assert events == ["asked", "lost", "refused"]


def test_a_policy_may_let_a_site_answer_without_a_log(own, opened, tmp_path, full_disk, caplog):
    policy = tmp_path / POLICY
    text = policy.read_text()
    assert "audit_required = true" in text
    policy.write_text(text.replace("audit_required = true", "audit_required = false"))
    assert not answer(own, query()).has_error()
    assert caplog.text.count("cannot be written") == 2
