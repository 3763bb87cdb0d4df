"""The coordinator's audit log: who was asked what, what came, who was refused, who was admitted."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Context, RecordDict, UserConfig
from support.prepared_sites import PreparedSites, prepared_job, start
from support.rounds import Watching

import fl
from fl.messages.flower_arrays import packed, to_array_record, unpacked
from fl.messages.job import Job
from fl.messages.message_facts import reply_facts
from fl.messages.reply_signature import sign_reply, take_signature
from fl.privacy.audit_log.digests import arrays_digest
from fl.privacy.audit_log.log_file import AuditLog, log_files
from fl.privacy.audit_log.verification import verify
from fl.reports.build import write_report
from fl.runs.run_record import RunRecord
from fl.training.state_dict import load_weights
from fl.util.errors import FederationError
from server.aggregation.strategies import STRATEGIES
from server.deploy import __main__ as deploy
from server.deploy import admission
from server.deploy.audit.audited_grid import AuditedGrid
from server.deploy.audit.audited_run import AuditedListener
from server.deploy.federation_store import FEDERATION, FederationFolder
from server.deploy.server_app import main as serve_run
from server.engines.in_process import LocalGrid
from server.rounds.round_loop import run_rounds
from server.rounds.site_requests import discover_sites

SITES = {"site-1": 1001, "site-2": 1002, "site-3": 1003}


def lines_of(log, event=""):
    raw = b"".join(file.read_bytes() for file in log_files(log.folder))
    found = [json.loads(line) for line in raw.splitlines()]
    return [line for line in found if event in ("", line["event"])]


def rounds(tmp_path, sites, log=None, number=2):
    """Rounds of prepared sites, with an audit log where one is given."""
    job = prepared_job(tmp_path, rounds=number).model_copy(update={"run": "r", "nodes": SITES})
    grid, listener = LocalGrid(sites, 3), Watching()
    if log is not None:
        grid, listener = AuditedGrid(grid, log, SITES, "r"), AuditedListener(listener, log, "r")
    federation = discover_sites(grid, job, listener)
    return run_rounds(federation, STRATEGIES["fedavg"].make(job.config), start())


@pytest.fixture
def log(tmp_path):
    return AuditLog(tmp_path / "audit")


def test_the_weights_are_those_of_a_run_without_a_log_to_the_bit(tmp_path, log):
    for name in ("with", "without"):
        (tmp_path / name).mkdir()
    with_log = rounds(tmp_path / "with", PreparedSites(), log)
    without = rounds(tmp_path / "without", PreparedSites())
    assert arrays_digest(with_log.weights) == arrays_digest(without.weights)


def test_every_request_and_every_reply_is_a_line_with_digests_of_its_weights(tmp_path, log):
    progress = rounds(tmp_path, PreparedSites(), log)
    assert verify(log.folder).broken == ""
    asked, replied = lines_of(log, "asked"), lines_of(log, "replied")
    assert len(asked) == len(replied) == 3 * 4  # first words, two rounds, the last validation
    assert [line["kind"] for line in asked] == ["query"] * 3 + ["train"] * 6 + ["evaluate"] * 3
    assert {line["run"] for line in asked + replied} == {"r"}
    zeros = arrays_digest({"w": np.zeros(2, np.float32)})
    first = [line for line in asked if line.get("round") == 1]
    assert {line["arrays"]["sha256"] for line in first} == {zeros}
    assert [(line["site"], line["node"]) for line in first] == list(SITES.items())
    trained = [line for line in replied if line.get("round") == 1 and line["kind"] == "train"]
    for line in trained:
        number = int(line["site"][-1])
        sent = {"w": np.full(2, number, np.float32)}
        assert line["arrays"] == {"number": 1, "sha256": arrays_digest(sent)}
        assert line["numbers"]["train-patients"] == 10
        assert line["from-node"] == SITES[line["site"]]
    last = [line["arrays"]["sha256"] for line in asked if line["kind"] == "evaluate"]
    assert set(last) == {arrays_digest(progress.weights)}
    assert len({line["settings-sha256"] for line in asked}) == 1
    assert {line["message"] for line in asked} == {line["message"] for line in replied}


def test_first_words_and_rounds_are_lines(tmp_path, log):
    rounds(tmp_path, PreparedSites(), log)
    (training,) = lines_of(log, "training")
    assert [site["n_train"] for site in training["first-words"]] == [10, 10, 10]
    assert [line["round"] for line in lines_of(log, "round")] == [1, 2]


def test_a_refused_reply_is_a_line_that_names_the_site(tmp_path, log):
    def lie(trained, number):
        from dataclasses import replace

        return replace(trained, n_records=10**12) if trained.site == "site-2" else trained

    rounds(tmp_path, PreparedSites(change=lie), log)
    failed = lines_of(log, "failed")
    assert {line["site"] for line in failed} == {"site-2"}
    assert "refused" in failed[0]["reason"]


def test_an_errors_own_words_are_not_noted(tmp_path, log):
    sites = PreparedSites()

    def failing(message, context):
        if message.metadata.message_type == "train" and context.node_config["partition-id"] == 0:
            raise ValueError("record A0001 of Jane Doe")
        return sites(message, context)

    rounds(tmp_path, failing, log)
    assert lines_of(log, "replied")[3]["reason"] == "words of its own"


ODD = {
    "a text in the place of a count": {"num-examples": 1.5, "x" * 9999: [1.0] * 9999},
    "numbers that are none": {"num-examples": float("nan"), "loss-sum": float("inf")},
}


@pytest.mark.parametrize("numbers", ODD.values(), ids=list(ODD))
def test_whatever_a_site_sends_the_log_stays_whole(tmp_path, log, numbers):
    from flwr.app import MetricRecord

    sites = PreparedSites()

    def lying(message, context):
        reply = sites(message, context)
        if message.metadata.message_type == "train" and context.node_config["partition-id"] == 0:
            reply.content["metrics"] = MetricRecord(numbers)
            reply.content["event"] = MetricRecord({"line": 1})
        return reply

    rounds(tmp_path, lying, log)
    assert verify(log.folder).broken == ""
    assert len(lines_of(log, "replied")) >= 12


KEYS = {node: ec.derive_private_key(node, ec.SECP384R1()) for node in SITES.values()}
FORM = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
PUBLIC = {node: key.public_key().public_bytes(*FORM).decode() for node, key in KEYS.items()}


def signing(sites, change=lambda reply, signed: None):
    """Sites that sign what they reply; `change` is what happens to the second one's on its way."""

    def client(message, context):
        reply = sites(message, context)
        sign_reply(reply, reply_facts(reply), KEYS[1001 + context.node_config["partition-id"]])
        if context.node_config["partition-id"] == 1:
            change(reply, message.metadata.message_type)
        return reply

    return client


def another_body(reply, kind):
    if kind == "train":
        reply.content["arrays"] = to_array_record({"w": np.full(2, 9, np.float32)})


def another_count(reply, kind):
    if kind == "train":
        reply.content["metrics"]["num-examples"] = 9


def no_signature(reply, kind):
    if kind == "train":
        take_signature(reply)


def one_more_record(reply, kind):
    if kind == "train":
        reply.content["more"] = reply.content["metrics"]


class Replay:
    """Sends the first reply to a request to train again, in the place of the second."""

    def __init__(self):
        self.first = None

    def __call__(self, reply, kind):
        if kind == "train":
            self.first = self.first or dict(reply.content)
            reply.content = RecordDict(self.first)


def signed_rounds(tmp_path, client, log):
    job = prepared_job(tmp_path).model_copy(update={"run": "r", "nodes": SITES})
    grid = AuditedGrid(LocalGrid(client, 3), log, SITES, "r", PUBLIC)
    federation = discover_sites(grid, job, Watching())
    return run_rounds(federation, STRATEGIES["fedavg"].make(job.config), start())


def test_signed_replies_are_taken_and_the_log_proves_who_sent_them(tmp_path, log):
    progress = signed_rounds(tmp_path, signing(PreparedSites()), log)
    assert progress.failures == []
    lines = lines_of(log, "replied")
    assert {line["signed"] for line in lines} == {True}
    (tmp_path / "other").mkdir()
    plain = rounds(tmp_path / "other", PreparedSites())
    assert arrays_digest(plain.weights) == arrays_digest(progress.weights)
    # What is signed is in the line: whoever has the public key can check it.
    line, names = lines[3], ("names", "numbers", "arrays")
    reply = {name: line[name] for name in names}
    text = {"heartfed": "reply", "reply": reply, "run": 1, "message": line["message"]}
    key = serialization.load_ssh_public_key(PUBLIC[line["from-node"]].encode())
    signature = base64.b64decode(line["signature"])
    key.verify(signature, json.dumps(text, sort_keys=True).encode(), ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize(
    "change",
    [another_body, another_count, no_signature, one_more_record, Replay()],
    ids=lambda change: getattr(change, "__name__", "replay"),
)
def test_a_reply_that_is_changed_on_its_way_is_refused(tmp_path, log, change):
    progress = signed_rounds(tmp_path, signing(PreparedSites(), change), log)
    assert {failure["site"] for failure in progress.failures} == {"site-2"}
    assert "not signed with the key" in progress.failures[-1]["reason"]
    refused = [line for line in lines_of(log, "replied") if not line["signed"]]
    assert {(line["site"], line["kind"]) for line in refused} == {("site-2", "train")}


def test_first_words_that_are_not_signed_are_refused(tmp_path, log):
    def change(reply, kind):
        take_signature(reply)

    signed_rounds(tmp_path, signing(PreparedSites(), change), log)
    assert {line["site"] for line in lines_of(log, "replied") if line["kind"] == "train"} == {
        "site-1",
        "site-3",
    }


@pytest.fixture
def federation(tmp_path, monkeypatch):
    path = tmp_path / "federation"
    assert deploy.main(["init", str(path), "--host", "ecg.example.org"]) == 0
    monkeypatch.setenv(FEDERATION, str(path))
    return FederationFolder(path)


def served(federation, tmp_path, sites):
    """A run as the SuperLink starts it, of sites with prepared answers: its run directory."""
    folder = tmp_path / "runs" / "r"
    folder.mkdir(parents=True)
    given = {"rounds": 1, "model": "resnet1d", "averaging": "plain", "timeout": 5.0, "clients": 3}
    job = Job(
        config=given,
        strategy="fedavg",
        workspace=str(folder),
        n_sites=3,
        run="r-1",
        version=fl.__version__,
        nodes=SITES,
    )
    (folder / "partition.csv").write_text("source,record,patient,site,split,labels\n")
    record = RunRecord.new(folder, job.config, ())
    record.update(run="r-1", engine="deployment", data=[])
    (federation.jobs / "r-1.json").write_text(job.model_dump_json())
    settings = UserConfig({"job": "r-1"})
    context = Context(
        run_id=77, node_id=1, node_config=UserConfig(), state=RecordDict(), run_config=settings
    )
    serve_run(LocalGrid(lambda message, given: packed(sites(unpacked(message), given)), 3), context)
    return folder


def test_a_run_has_a_beginning_and_an_end_and_its_report_the_last_line(federation, tmp_path):
    folder = served(federation, tmp_path, PreparedSites())
    log = AuditLog(federation.path / "audit")
    (began,), (ended,) = lines_of(log, "run-started"), lines_of(log, "run-ended")
    assert (began["run"], began["flower-run"], began["sites"]) == ("r-1", 77, SITES)
    assert began["settings"]["model"] == "resnet1d"
    assert {line["settings-sha256"] for line in lines_of(log, "asked")} == {
        began["settings-sha256"]
    }
    best = arrays_digest(load_weights(folder / "weights" / "fedavg-best.safetensors"))
    assert (ended["status"], ended["models"]["fedavg-best"]) == ("completed", best)
    head = log.head()
    assert head.line == ended["line"]
    kept = json.loads((folder / "run.json").read_text())["audit"]
    assert kept == {"of": "coordinator", "line": head.line, "sha256": head.sha256}
    write_report(folder)
    assert head.sha256 in (folder / "report" / "index.html").read_text()


def test_a_run_that_fails_has_an_end_too(federation, tmp_path):
    def silent(message, context):
        raise ValueError("no")

    with pytest.raises(FederationError):
        served(federation, tmp_path, silent)
    (ended,) = lines_of(AuditLog(federation.path / "audit"), "run-ended")
    assert (ended["status"], ended["reason"]) == ("failed", "FederationError")


def test_admission_and_revocation_of_keys_are_lines(federation, tmp_path, monkeypatch):
    monkeypatch.setattr(admission, "ask_flower", lambda *_: {"success": True, "node-id": 7})
    monkeypatch.setattr(admission, "list_nodes", lambda folder: [])
    key = tmp_path / "a.pub"
    key.write_bytes(ec.generate_private_key(ec.SECP384R1()).public_key().public_bytes(*FORM))
    key.write_bytes(key.read_bytes() + b" a\n")
    for command in (["invite", "a"], ["approve", str(key)], ["revoke", "a"], ["renew"]):
        name, *rest = command
        assert deploy.main([name, str(federation.path), *rest]) == 0
    log = AuditLog(federation.path / "audit")
    made, invited, approved, revoked, renewed = lines_of(log)
    assert (made["event"], renewed["event"]) == ("federation-made", "certificate-renewed")
    assert (invited["event"], invited["site"]) == ("invited", "a")
    assert (approved["event"], approved["node"]) == ("approved", 7)
    assert approved["key"].startswith("SHA256:")
    assert (revoked["event"], revoked["site"]) == ("revoked", "a")
    assert deploy.main(["audit", "verify", str(federation.path)]) == 0
    assert federation.public_keys() == {}


def test_the_public_key_of_an_approved_site_is_kept(federation):
    federation.note_site("a", node=7, approved="now", revoked="", public_key="ssh a")
    federation.note_site("b", node=8, approved="now", revoked="")
    assert federation.public_keys() == {7: "ssh a"}


def test_a_federation_of_an_earlier_version_has_a_log_too(federation, tmp_path):
    path = federation.path / "federation.toml"
    kept = [line for line in path.read_text().splitlines() if not line.startswith("audit")]
    path.write_text("\n".join(kept))
    assert deploy.main(["invite", str(federation.path), "a"]) == 0
    assert verify(federation.path / "audit").lines == 2


@pytest.mark.parametrize("days", ['"x"', "-1", "true", "999999999999"])
def test_a_number_of_days_that_is_none_is_a_mistake(federation, days, capsys):
    path = federation.path / "federation.toml"
    path.write_text(path.read_text().replace("audit_keep_days = 2190", f"audit_keep_days = {days}"))
    assert deploy.main(["invite", str(federation.path), "a"]) == 2
    assert deploy.main(["init", str(Path(path).parent / "x"), "--host", "a"]) == 0
    flags = ["--host", "a", "--audit-keep-days", "-1"]
    assert deploy.main(["init", str(Path(path).parent / "y"), *flags]) == 2
