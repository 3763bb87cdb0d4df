"""Flower's own SuperNode serves with every version of Flower that we did not test."""

import os
import stat
import subprocess

import pytest
from support.sites import joined

from clients.deploy import flower_supernode
from clients.deploy.flower_supernode import FlowerSuperNode
from clients.deploy.health import is_at_work
from clients.deploy.join import supernode_class
from clients.deploy.resident_supernode import ResidentSuperNode
from fl.util import tested_versions
from fl.util.errors import ConfigError


@pytest.fixture
def site(tmp_path):
    return joined(tmp_path)


def be_flower(monkeypatch, tmp_path, script):
    """Put a `flower-supernode` of our own before Flower's."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "flower-supernode"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def environment(home, **more):
        return os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"} | more

    monkeypatch.setattr(flower_supernode, "flower_environment", environment)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("version", "way"), [("1.41.0", ResidentSuperNode), ("1.42.0", FlowerSuperNode)]
)
def test_the_way_is_chosen_by_the_version_and_one_line_says_so(monkeypatch, capsys, version, way):
    monkeypatch.setattr(tested_versions, "installed_version", lambda package: version)
    monkeypatch.setenv(tested_versions._REPORTED, "")
    monkeypatch.setenv(tested_versions.PUBLIC_ONLY, "")
    assert supernode_class() is way
    assert len(capsys.readouterr().err.splitlines()) == (way is FlowerSuperNode)


def test_flower_accepts_the_flags(site):
    """Flower's program checks its flags before it looks at anything else."""
    command = FlowerSuperNode.command(site, 4567)
    assert command[-2:] == ["--isolation", "subprocess"]
    env = FlowerSuperNode.environment(site)
    done = subprocess.run(
        [*command, "--no-such-flag"], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.stderr.strip().splitlines()[-1].endswith("unrecognized arguments: --no-such-flag")


def test_an_end_is_no_reason_to_stop_while_a_former_connection_may_last(
    site, monkeypatch, tmp_path
):
    be_flower(monkeypatch, tmp_path, "echo no; exit 1")
    assert FlowerSuperNode(site).run() is False


def test_a_supernode_that_always_ends_at_once_is_most_likely_refused(site, monkeypatch, tmp_path):
    be_flower(monkeypatch, tmp_path, "echo Failed to activate SuperNode; exit 1")
    monkeypatch.setattr(flower_supernode, "NODE_LAPSE", 0.0)
    with pytest.raises(ConfigError, match=r"is not approved yet.*line: Failed to activate") as stop:
        FlowerSuperNode(site).run()
    assert "\n" not in str(stop.value)


def test_a_supernode_that_lasted_was_connected(site, monkeypatch, tmp_path):
    be_flower(monkeypatch, tmp_path, "exit 0")
    monkeypatch.setattr(flower_supernode, "NODE_LAPSE", 0.3)
    monkeypatch.setattr(flower_supernode, "SHORT", 0.0)
    assert FlowerSuperNode(site).run() is True
    assert not is_at_work(site.folder)
