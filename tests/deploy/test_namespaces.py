"""Hospitals with addresses of their own: network namespaces on one bridge, as on one network."""

import os
import shutil
import subprocess
import sys

import pytest
from support.federations import ROOT, SITES, Federation, facts, write_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
NET = "10.203.77"


def ip(*arguments):
    return subprocess.run(["ip", *arguments], capture_output=True, text=True)


class Network:
    """A namespace for the coordinator, with a bridge, and one for each site."""

    def __init__(self):
        self.tag = f"hf{os.getpid()}"
        self.names = [f"{self.tag}c", *(f"{self.tag}s{i}" for i in range(len(SITES)))]

    def __enter__(self):
        for name in self.names:
            done = ip("netns", "add", name)
            if done.returncode != 0:
                self.__exit__()
                pytest.skip(f"network namespaces are not permitted here: {done.stderr.strip()}")
        hub = self.names[0]
        self.inside(hub, "link", "add", "br0", "type", "bridge")
        for i, name in enumerate(self.names[1:]):
            far = f"v{i}"
            made = self.inside(hub, "link", "add", far, "type", "veth", "peer", "name", "eth0")
            if made.returncode != 0:
                self.__exit__()
                pytest.skip(f"veth pairs are not permitted here: {made.stderr.strip()}")
            self.inside(hub, "link", "set", "eth0", "netns", name)
            self.inside(hub, "link", "set", far, "master", "br0", "up")
            self.inside(name, "addr", "add", f"{NET}.{i + 11}/24", "dev", "eth0")
            self.inside(name, "link", "set", "eth0", "up")
            self.inside(name, "link", "set", "lo", "up")
        self.inside(hub, "addr", "add", f"{NET}.1/24", "dev", "br0")
        self.inside(hub, "link", "set", "br0", "up")
        self.inside(hub, "link", "set", "lo", "up")
        return self

    def inside(self, name, *arguments):
        return ip("-n", name, *arguments)

    def __exit__(self, *_):
        for name in self.names:
            ip("netns", "del", name)


class Spread(Federation):
    """A federation whose programs run each in the namespace of its place."""

    def __init__(self, base, network):
        self.network = network
        super().__init__(base, host=f"{NET}.1", listen=f"{NET}.1")

    def command(self, *arguments):
        words = [str(word) for word in arguments]
        named = [i for i, site in enumerate(SITES) if site in words]
        joins = words[0] == "clients.deploy"
        place = self.network.names[1 + named[0] if joins else 0]
        return ["ip", "netns", "exec", place, sys.executable, "-m", *words]


@pytest.mark.skipif(shutil.which("ip") is None, reason="there is no `ip` to make namespaces with")
def test_hospitals_with_addresses_of_their_own_train_together(tmp_path):
    for i, site in enumerate(SITES):
        names = [f"S{n:05d}" for n in range(1 + i * 20, 21 + i * 20)]
        write_folder(tmp_path / "data" / site, names)
    with Network() as network, Spread(tmp_path, network) as federation:
        federation.flags = {
            site: ("--sources", f"own={tmp_path / 'data' / site}", "--min-count", "1")
            for site in SITES
        }
        federation.serve()
        federation.admit_all()
        flags = ("--rounds", "2", "--model", "resnet1d", "--local-epochs", "1", "--name", "run")
        federation.do("server.deploy", "run", federation.folder, *flags, timeout=600)
        record = facts(tmp_path / "runs" / "run" / "run.json")
        assert (record["status"], record["failures"]) == ("completed", [])
        summary = facts(tmp_path / "runs" / "run" / "summary.json")
        assert set(summary["strategies"]["fedavg"]["sites"]) == set(SITES)
        # A hospital reaches the reverse proxy, and nothing else of the coordinator.
        superlink = federation.superlink
        tried = f"import socket; socket.create_connection(('{NET}.1', {superlink}), 3)"
        refused = subprocess.run(
            [*("ip", "netns", "exec", network.names[1]), sys.executable, "-c", tried],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert "ConnectionRefusedError" in refused.stderr
