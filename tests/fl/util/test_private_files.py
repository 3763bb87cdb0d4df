"""What a run or a site writes is for its owner alone, whatever the umask."""

import os
import stat
from contextlib import contextmanager

import pytest

from clients.deploy import __main__ as site_commands
from clients.deploy.site_policy.request_rate import count_request
from fl.runs.run_record import make_run_folder
from fl.util.atomic_io import write_atomically
from fl.util.child_process import log_to_file
from fl.util.private_files import (
    make_private,
    make_tree_private,
    private_files,
    private_opener,
)
from server.deploy import __main__ as coordinator_commands


@contextmanager
def umask(mask):
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture(params=[0o000, 0o002, 0o022, 0o077], ids="{:03o}".format)
def any_umask(request):
    with umask(request.param):
        yield request.param


def rights(path):
    return stat.S_IMODE(path.stat().st_mode)


def open_to_others(folder):
    """What of a folder, itself among it, anybody but its owner has rights to."""
    found = [folder, *folder.rglob("*")]
    return [path for path in found if not path.is_symlink() and rights(path) & 0o077]


def test_each_way_to_write_a_file_of_its_own_accord(any_umask, tmp_path):
    folder = make_run_folder(tmp_path, "r")
    write_atomically(folder / "a", b"")
    count_request(folder, "train", 9)
    with open(folder / "b", "xb", opener=private_opener):
        pass
    logger = log_to_file(folder / "logs" / "site.log")
    handler = logger.handlers[-1]
    logger.removeHandler(handler)
    handler.close()
    assert len(list(folder.rglob("*"))) == 5
    assert open_to_others(folder) == []


def test_whatever_else_is_written_while_a_command_runs(any_umask, tmp_path):
    with private_files():
        (tmp_path / "new" / "folder").mkdir(parents=True)
        (tmp_path / "new" / "file").write_text("")
    assert open_to_others(tmp_path / "new") == []
    outside = tmp_path / "outside"
    outside.mkdir()
    assert rights(outside) == 0o777 & ~any_umask


@pytest.mark.parametrize(
    ("module", "command", "given"),
    [
        (site_commands, "join", ["join", "x.toml", "--site", "a", "--data-dir", "d"]),
        (coordinator_commands, "status", ["status", "folder"]),
    ],
)
def test_the_commands_of_both_ends_do(any_umask, monkeypatch, tmp_path, module, command, given):
    def write(_):
        (tmp_path / "written").write_text("")
        return 0

    entry = (write, "") if module is coordinator_commands else write
    monkeypatch.setitem(module.COMMANDS, command, entry)
    monkeypatch.setattr(module, "handle_stop_signals", lambda: None)
    assert module.main(given) == 0
    assert rights(tmp_path / "written") == 0o600


def test_what_others_could_read_becomes_private(tmp_path):
    away = tmp_path / "away"
    away.write_text("")
    away.chmod(0o644)
    folder = tmp_path / "site"
    (folder / "logs").mkdir(parents=True)
    (folder / "logs" / "site.log").write_text("")
    (folder / "logs" / "site.log").chmod(0o644)
    (folder / "link").symlink_to(away)
    for path in (folder, folder / "logs"):
        path.chmod(0o755)
    assert make_tree_private(folder) == 3
    assert open_to_others(folder) == []
    assert make_tree_private(folder) == 0
    assert rights(away) == 0o644
    assert not make_private(tmp_path / "none")
