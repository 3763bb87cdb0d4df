"""A federation on loopback for the tests: folders of recordings, and processes that end."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil

from fl.datasets import DATASETS
from fl.datasets.readers import wfdb_access
from fl.datasets.synthetic import SYNTHETIC_HOLTER
from fl.ecg.labels import RHYTHM_CLASSES
from fl.util.child_process import free_port

ROOT = Path(__file__).parents[2]
SITES = ("site-1", "site-2", "site-3")
PATIENCE = 180.0  # seconds within which a program must print what is awaited


def write_folder(folder, names, seconds=(10.0, 12.0)):
    """A hospital's own folder: synthetic records by these names, written as WFDB."""
    source = replace(SYNTHETIC_HOLTER, n_records=400, seconds=seconds)
    folder.mkdir(parents=True)
    lines = ["record,patient,labels,age,sex"]
    for name in names:
        record = source.read(folder, name)
        wfdb_access.call(
            "wrsamp",
            name,
            fs=record.fs,
            units=["mV"] * len(record.leads),
            sig_name=list(record.leads),
            p_signal=record.signal.T.astype(float),
            fmt=["16"] * len(record.leads),
            adc_gain=[1000.0] * len(record.leads),
            baseline=[0] * len(record.leads),
            write_dir=str(folder),
        )
        present = [c for c, y in zip(RHYTHM_CLASSES, record.labels, strict=True) if y == 1]
        lines.append(f"{name},{record.patient},{';'.join(present)},{record.age:.0f},{record.sex}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")


def part_of(partition, site):
    """The recordings that a partition.csv gives to a site."""
    with partition.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["site"] == site]
    return sorted({row["record"].split("/")[0] for row in rows})


def copy_folder(whole, part, records):
    """The part of an own folder that holds these recordings."""
    part.mkdir(parents=True)
    lines = (whole / "labels.csv").read_text().splitlines()
    kept = [lines[0], *(line for line in lines[1:] if line.split(",")[0] in records)]
    (part / "labels.csv").write_text("\n".join(kept) + "\n")
    for name in records:
        for file in whole.glob(f"{name}.*"):
            os.link(file, part / file.name)


def link_source(root, data_dir, source, records):
    """A data folder with links to these recordings of a real data set."""
    folder = data_dir / source
    folder.mkdir(parents=True)
    for name in records:
        for file in (root / source).rglob(f"{name}.*"):
            (folder / file.name).symlink_to(file)
    assert DATASETS[source].record_names(data_dir)


def synthetic_folders(base, sites=SITES):
    """A folder of thirty synthetic recordings for each site; the flags of its `join`, by site."""
    flags = {}
    for i, site in enumerate(sites):
        folder = base / "data" / site
        write_folder(folder, [f"S{n:05d}" for n in range(1 + i * 30, 31 + i * 30)])
        flags[site] = ("--sources", f"own={folder}", "--min-count", "1")
    return flags


class Federation:
    """A coordinator's folder, its processes, and those of its sites."""

    def __init__(self, base, sites=SITES, host="127.0.0.1", listen="127.0.0.1"):
        self.base, self.folder, self.sites = base, base / "federation", sites
        self.port, self.processes = free_port(), {}
        self.env = os.environ | {"PYTHONPATH": str(ROOT), "HEARTFED_CACHE": str(base / "cache")}
        self.flags = {}  # of each site's join
        self.superlink = free_port()
        self.do(
            *("server.deploy", "init", self.folder, "--host", host, "--listen", listen),
            *("--port", self.port, "--superlink-port", self.superlink),
        )

    def command(self, *arguments):
        """How a module of ours is started."""
        return [sys.executable, "-m", *map(str, arguments)]

    def run(self, *arguments, timeout=240):
        """A command, to its end."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.base,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def do(self, *arguments, timeout=240):
        """A command that must end well; what it printed."""
        done = self.run(*arguments, timeout=timeout)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, name, *arguments, awaited):
        """A program that goes on; returns when it has printed what is awaited."""
        log = self.base / f"{name}.log"
        with log.open("a") as file:
            at = file.tell()
            process = subprocess.Popen(
                self.command(*arguments),
                cwd=self.base,
                env=self.env,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # Whoever runs the tests in the background may have had interrupts ignored.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        self.processes[name] = process
        await_that(lambda: awaited in log.read_text()[at:] or process.poll() is not None)
        assert awaited in log.read_text()[at:], log.read_text()[at:]
        return process

    def serve(self):
        """SuperLink and reverse proxy; returns when they are at work."""
        self.start("serve", "server.deploy", "serve", self.folder, awaited="sites are awaited")
        await_that(lambda: self.run("server.deploy", "health", self.folder).returncode == 0)

    def invite(self, site):
        self.do("server.deploy", "invite", self.folder, site)
        return self.folder / "invitations" / f"{site}.toml"

    def admit(self, site):
        """Invitation, key and approval of a site."""
        invitation = self.invite(site)
        self.do("clients.deploy", "key", invitation, "--site", site, "--home", self.home(site))
        self.do("server.deploy", "approve", self.folder, self.home(site) / f"{site}.pub")

    def admit_all(self):
        """All sites admitted and at work, side by side."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.admit, self.sites))
            list(pool.map(self.join, self.sites))
        self.online(*self.sites)

    def home(self, site):
        return self.base / "homes" / site

    def join(self, site, *flags, awaited="serving", invitation=None):
        """A site at work."""
        given = invitation or self.folder / "invitations" / f"{site}.toml"
        return self.start(
            site,
            *("clients.deploy", "join", given, "--site", site, "--home", self.home(site)),
            *("--data-dir", self.base, *self.flags.get(site, ()), *flags),
            awaited=awaited,
        )

    def online(self, *sites):
        """Wait until these sites are connected."""
        await_that(
            lambda: all(
                any(line.split()[:2] == [site, "online"] for line in self.status().splitlines())
                for site in sites
            )
        )

    def status(self):
        return self.do("server.deploy", "status", self.folder)

    def kill(self, name):
        """End a program, and all that it started, at once, as a power cut does."""
        process = self.processes.pop(name)
        for one in [process, *psutil.Process(process.pid).children(recursive=True)]:
            one.kill()
        process.wait()

    def close(self):
        """End all that was started."""
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            wait_or_kill(process, 20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def wait_or_kill(process, seconds):
    """Until a process that was asked to end has ended; whatever it started ends with it."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def await_that(holds, seconds=PATIENCE):
    """Until it holds; fails if it does not in time."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds:g} s"
        time.sleep(0.1)


def facts(path):
    return json.loads(path.read_text())
