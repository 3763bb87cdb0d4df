"""docs/deploy.md, "On one machine": its commands as they stand there, over loopback.

The recordings are synthetic. Only if another program has one of the two ports does `init` get
others, by the flags that the page names.
"""

import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid

import psutil
import pytest
from support.documents import ROOT, as_pattern, blocks, section
from support.federations import wait_or_kill

from fl.util.child_process import free_port

# Two runs of three sites: six minutes on two cores that others use too: `make test-slow` runs it.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
PAGE = section((ROOT / "docs" / "deploy.md").read_text(), "On one machine, to try it")
BLOCKS = blocks(PAGE)
PATIENCE = 240.0  # seconds within which a command ends, or prints what the page shows
GOES_ON = re.compile(r"-m (server\.deploy serve|clients\.deploy join) ")
MARK = "HEARTFED_ONE_MACHINE"  # in the environment of all that is started


def is_free(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


class Walk:
    """The terminals of the page, in one new folder."""

    def __init__(self, base):
        self.base, self.mark = base, uuid.uuid4().hex
        self.ports = {usual: usual if is_free(usual) else free_port() for usual in (8443, 8000)}
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        programs = [os.path.dirname(sys.executable), os.environ.get("PATH", "")]
        self.env = os.environ | {
            "PYTHONPATH": os.pathsep.join(paths),
            "PATH": os.pathsep.join(programs),
            "HEARTFED_CACHE": str(base / "cache"),
            MARK: self.mark,
        }
        self.going_on, self.done = [], []

    def type(self, block):
        """The commands of a block, and a look at what they print."""
        log = self.base / f"terminal-{block.terminal}.log"
        before = len(log.read_text()) if log.exists() else 0
        for line in block.commands:
            self.start(line, log)
        end = time.monotonic() + PATIENCE
        while missing := self.missing(block.printed, log.read_text()[before:]):
            assert self.going_on, f"not printed: {missing}\n{log.read_text()[before:]}"
            assert time.monotonic() < end, f"not printed: {missing}\n{log.read_text()[before:]}"
            assert all(process.poll() is None for process in self.going_on), log.read_text()
            time.sleep(0.2)

    def start(self, line, log):
        """One command; returns when it has ended, unless it is one that goes on."""
        typed = line
        if " init " in line and any(usual != port for usual, port in self.ports.items()):
            typed += f" --port {self.ports[8443]} --superlink-port {self.ports[8000]}"
        with log.open("a") as file:
            process = subprocess.Popen(
                ["bash", "-c", typed],
                cwd=self.base,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        self.done.append(line)
        if GOES_ON.search(line):
            self.going_on.append(process)
            return
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        assert code == (1 if line.endswith("# is refused") else 0), f"{line}\n{log.read_text()}"

    def missing(self, printed, output):
        """The lines of the page that are not in the output, in this order."""
        rest, absent = " ".join(output.split()), []
        for line in printed:
            shown = line.replace("8443", str(self.ports[8443]))
            found = as_pattern(shown).search(rest)
            if found is None:
                absent.append(line)
            else:
                rest = rest[found.end() :]
        return absent

    def processes(self):
        """All that was started and is not ended, by the mark in its environment."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def end(self):
        """Ctrl-C in each terminal; the hospitals first, as the page has it."""
        for process in reversed(self.going_on):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            wait_or_kill(process, 30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
        for process in self.processes():
            process.kill()


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """The whole page; what goes on goes on until the last test of this file."""
    if shutil.which("bash") is None:
        pytest.skip("the page is for a shell, and there is no bash here")
    with Walk(tmp_path_factory.mktemp("one-machine")) as walk:
        for block in BLOCKS:
            walk.type(block)
        yield walk


def summary(walked, name):
    path = walked.base / "runs" / name / "summary.json"
    return json.loads(path.read_text())["strategies"]["fedavg"]


def test_every_command_of_the_page_is_run_in_one_of_its_terminals(walked):
    assert walked.done == [line for block in BLOCKS for line in block.commands]
    assert {block.terminal for block in BLOCKS} == {1, 2, 3, 4, 5}


def test_results_are_where_the_page_says(walked):
    named = re.findall(r"`((?:runs|heartfed-hospital-a|federation)/[\w./*-]+)`", PAGE)
    assert len(named) > 5
    assert [path for path in named if not list(walked.base.glob(path))] == []


def test_hospitals_of_few_patients_take_part_without_figures(walked):
    sites = summary(walked, "first")["sites"]
    assert len(sites["hospital-a"]["macro_classes"]) > 0
    assert sites["hospital-b"]["n_patients"] > 0
    assert sites["hospital-b"]["macro_classes"] == []
    assert not sites["hospital-c"]
    with (walked.base / "runs" / "first" / "sites.csv").open(newline="") as file:
        rows = {row["site"]: row for row in csv.DictReader(file) if row["split"] == "val"}
    assert float(rows["hospital-a"]["macro_auroc"]) > 0
    assert rows["hospital-b"]["loss"] == rows["hospital-b"]["macro_auroc"] == "n/a"
    assert (rows["hospital-c"]["n_records"], rows["hospital-c"]["loss"]) == ("0", "n/a")


def test_a_refused_run_is_resumed_once_the_policies_permit_it(walked):
    record = json.loads((walked.base / "runs" / "refused" / "run.json").read_text())
    assert (record["status"], len(record["resumed"])) == ("completed", 1)
    assert summary(walked, "refused")["central"] is None


def test_ctrl_c_in_each_terminal_ends_all_that_was_started(walked):
    assert len(walked.processes()) > len(walked.going_on)
    walked.end()
    assert [process.returncode for process in walked.going_on] == [0] * 4
    end = time.monotonic() + 20
    while walked.processes() and time.monotonic() < end:
        time.sleep(0.2)
    assert walked.processes() == []
