"""Before a site serves it checks the coordinator; then it keeps a SuperNode running."""

import socket
import ssl
import threading
from types import SimpleNamespace

import pytest
from support.sites import joined

from clients.deploy import join
from clients.deploy.join_checks import check_coordinator
from clients.deploy.resident_supernode import (
    InterruptibleWork,
    ResidentSuperNode,
    answer_requests,
    whatever_the_disk,
)
from fl.util import child_process
from fl.util.errors import ConfigError
from server.deploy.certificates import make_authority, make_server_certificate


@pytest.fixture
def coordinator(tmp_path):
    """A server on an IPv6 address, with a certificate of the authority in `ours`."""
    for name in ("ours", "other"):
        (tmp_path / name).mkdir()
        make_authority(tmp_path / name / "ca.pem", tmp_path / name / "ca.key", name)
    ours = tmp_path / "ours"
    paths = [ours / name for name in ("ca.pem", "ca.key", "server.pem", "server.key")]
    make_server_certificate(*paths, ["::1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ours / "server.pem", ours / "server.key")
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        threading.Thread(target=answer_one, args=(server, context), daemon=True).start()
        yield f"[::1]:{server.getsockname()[1]}"


def answer_one(server, context):
    try:
        with context.wrap_socket(server.accept()[0], server_side=True) as connection:
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nwell")
    except OSError:
        return  # a client that does not trust us has gone


def check(base, authority, address):
    """What the check prints, with this authority's certificate in the site folder."""
    site = joined(base / authority, address=address)
    check_coordinator(site.invitation, site.folder, site.console)
    return site.console.file.getvalue()


def test_a_coordinator_with_the_federations_certificate_is_the_right_one(tmp_path, coordinator):
    shown = check(tmp_path, "ours", coordinator)
    assert f"certificate of {coordinator}: valid until" in shown
    assert "trying again" not in shown


def test_another_authoritys_certificate_is_refused(tmp_path, coordinator):
    with pytest.raises(ConfigError, match=r"\[::1\].* does not show a certificate of federation"):
        check(tmp_path, "other", coordinator)


def test_a_coordinator_that_is_away_is_no_reason_to_stop(tmp_path, coordinator):
    assert "cannot be reached" in check(tmp_path, "ours", "127.0.0.1:1")


class Stop(BaseException):
    """Ends `serve`, which has no end of its own and goes on after any `Exception`."""


@pytest.mark.parametrize(
    ("connections", "lines"),
    [((False, False, False), 1), ((True, False, False), 1), ((True, False, True), 2)],
)
def test_a_lost_connection_is_reported_once(tmp_path, monkeypatch, connections, lines):
    ends = iter(connections)

    def run(self):
        for connected in ends:
            return connected
        raise Stop

    site = joined(tmp_path)
    site.folder.state.write_text("{}")
    monkeypatch.setattr(ResidentSuperNode, "run", run)
    monkeypatch.setattr(join, "RESTART", 0.0)
    with pytest.raises(Stop):
        join.serve(site)
    assert site.console.file.getvalue().count("not connected; trying again") == lines
    assert not site.folder.state.exists()


@pytest.mark.parametrize("error", [OSError(28, "disk full"), RuntimeError("x"), MemoryError()])
def test_a_supernode_that_cannot_be_served_is_started_again(tmp_path, monkeypatch, caplog, error):
    raised = [Stop, error]

    def run(self):
        raise raised.pop()

    monkeypatch.setattr(ResidentSuperNode, "run", run)
    monkeypatch.setattr(join, "RESTART", 0.0)
    with pytest.raises(Stop):
        join.serve(joined(tmp_path))
    assert "could not be served" in caplog.text


def test_why_a_site_is_not_connected_is_in_its_log(tmp_path, monkeypatch, caplog, coordinator):
    ends = [Stop, None]

    def run(self):
        if (end := ends.pop()) is not None:
            raise end
        return False

    site = joined(tmp_path / "other", address=coordinator)
    monkeypatch.setattr(ResidentSuperNode, "run", run)
    monkeypatch.setattr(join, "RESTART", 0.0)
    with pytest.raises(Stop):
        join.serve(site)
    assert "does not show a certificate of federation" in caplog.text


def test_a_full_disk_keeps_a_site_from_noting_that_it_is_at_work_and_no_more(caplog):
    with whatever_the_disk("that this site is at work"):
        raise OSError(28, "No space left on device")
    assert "that this site is at work is not noted" in caplog.text


def test_a_task_is_taken_when_its_message_has_arrived():
    arrived, taken = threading.Event(), []
    node = SimpleNamespace(ended=None)

    def take():
        taken.append(1)
        if len(taken) == 2:
            node.ended = 7

    runner = SimpleNamespace(take=take)
    threading.Timer(0.2, arrived.set).start()
    threading.Timer(0.6, arrived.set).start()
    assert answer_requests(runner, node, arrived, InterruptibleWork()) == 7
    assert len(taken) == 2


def test_a_program_that_is_asked_to_end_answers_no_more_requests(monkeypatch):
    monkeypatch.setattr(child_process, "STOP_REQUESTED", threading.Event())
    child_process.STOP_REQUESTED.set()
    with pytest.raises(KeyboardInterrupt):
        answer_requests(
            SimpleNamespace(), SimpleNamespace(ended=None), threading.Event(), InterruptibleWork()
        )
