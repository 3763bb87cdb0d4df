"""A site is at work while its process lives and its SuperNode listens."""

import socket
import subprocess

import pytest

from clients.deploy.__main__ import main
from clients.deploy.health import is_at_work, note_at_work
from clients.deploy.site_folder import SiteFolder


@pytest.fixture
def folder(tmp_path):
    return SiteFolder(tmp_path, "a")


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_site_at_work(folder, port, capsys):
    note_at_work(folder, port)
    assert main(["health", "--site", "a", "--home", str(folder.path)]) == 0
    assert capsys.readouterr().out == "at work\n"


def test_a_site_that_never_ran(folder, capsys):
    assert main(["health", "--site", "a", "--home", str(folder.path)]) == 1
    assert capsys.readouterr().out == "not at work\n"


def test_a_supernode_that_does_not_listen(folder):
    note_at_work(folder, 1)
    assert not is_at_work(folder)


def test_a_process_that_is_gone_though_another_has_its_port(folder, port):
    gone = subprocess.Popen(["true"])
    gone.wait()
    note_at_work(folder, port)
    text = folder.state.read_text()
    folder.state.write_text(text[: text.index('"process"')] + f'"process": {gone.pid}}}')
    assert not is_at_work(folder)


@pytest.mark.parametrize("text", ["", "{}", '{"port": "x", "process": 1}'])
def test_a_damaged_note(folder, text):
    folder.state.write_text(text)
    assert not is_at_work(folder)
