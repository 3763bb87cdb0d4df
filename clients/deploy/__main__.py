"""A hospital on the command line: join a federation, keep its records, and see that it works.

`python -m clients.deploy join INVITATION --data-dir D --site NAME` checks the data, says what
will and will not leave the building, and serves. `key` makes the site's key alone, `health`
answers whether it is at work.
"""

import argparse
import json
import logging
import secrets
import shlex
import ssl
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from rich.console import Console

import fl  # first: it turns telemetry off before flwr is imported
from clients.deploy.site_settings import MIN_COUNT, SiteSettings
from fl.messages.invitation import Invitation, fingerprint
from fl.util.atomic_io import write_atomically
from fl.util.child_process import (
    ChildProcess,
    exit_immediately,
    flower_environment,
    free_port,
    handle_stop_signals,
    log_to_file,
    raise_if_stopping,
)
from fl.util.command_line import CommandParser
from fl.util.errors import ConfigError, exit_code

if TYPE_CHECKING:
    from clients.deploy.task_runner import TaskRunner

RESTART = 2.0  # seconds before a SuperNode that ended is started again
NODE_LAPSE = (
    70.0  # seconds; a SuperLink counts a node that vanished as connected for 60, and lets no
)
# other in with its key
# What Flower says once a node was let in, when it was not, and once a message has arrived.
CONNECTED, NOT_LET_IN = "SuperNode ID:", "Failed to activate SuperNode"
ARRIVED = "Received successfully"
UNTOLD = 10.0  # seconds between looks for a message of which Flower said nothing


@dataclass(frozen=True)
class SiteFolder:
    """The site's own folder: its key, what it was told of the federation, logs, runs."""

    path: Path
    site: str

    @property
    def key(self) -> Path:
        return self.path / "site.key"

    @property
    def public_key(self) -> Path:
        return self.path / f"{self.site}.pub"

    @property
    def ca(self) -> Path:
        return self.path / "ca.pem"

    @property
    def secret(self) -> Path:
        return self.path / "supernode.secret"

    @property
    def admitted(self) -> Path:
        """Exists if the coordinator let this key in when it was last asked."""
        return self.path / "admitted"

    @property
    def state(self) -> Path:
        return self.path / "state.json"


def parser(prog: str) -> argparse.ArgumentParser:
    """The three commands of a site."""
    made = CommandParser(prog=prog, description=__doc__)
    commands = made.add_subparsers(dest="command", required=True)
    join = commands.add_parser("join", help="take part in a federation")
    key = commands.add_parser("key", help="make this site's key, and nothing else")
    health = commands.add_parser("health", help="whether the site is at work: exit code 0 or 1")
    for command in (join, key):
        command.add_argument("invitation", type=Path, help="file that the coordinator sent")
    for command in (join, key, health):
        command.add_argument("--site", required=True, help="this site's name in the federation")
        command.add_argument("--home", type=Path, help="folder of the site [heartfed-SITE]")
    join.add_argument("--data-dir", required=True, help="folder of the recordings")
    join.add_argument("--sources", default="", help="data sets there, or NAME=FOLDER [all found]")
    join.add_argument("--min-count", type=int, default=MIN_COUNT, help="smallest count told [5]")
    join.add_argument("--cache-dir", default="", help="preprocessed recordings [HOME/cache]")
    join.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    join.add_argument("--workers", type=int, default=1, help="processes that preprocess [1]")
    join.add_argument("--print", action="store_true", help="only show what would be run")
    return made


def main(argv: Sequence[str] | None = None, prog: str = "python -m clients.deploy") -> int:
    """Exit codes: 0 done, 2 something for the user to mend, 1 anything else."""
    options = parser(prog).parse_args(argv)
    command = {"join": join, "key": make_key, "health": health}[options.command]
    handle_stop_signals()
    program = prog.removeprefix("python -m ")
    return exit_code(program, lambda: command(options), "ended", ended=0)


def site_folder(options: argparse.Namespace) -> SiteFolder:
    """The site's folder, named after it unless --home names another."""
    path: Path = options.home or Path(f"heartfed-{options.site}")
    return SiteFolder(path.absolute(), options.site)


def read_invitation(options: argparse.Namespace) -> Invitation:
    """The invitation, if it is for this site, whose folder is then made for its owner alone."""
    invitation = Invitation.read(options.invitation)
    if invitation.site != options.site:
        raise ConfigError(
            f"--site is {options.site!r}, but {options.invitation} invites {invitation.site!r}."
        )
    path = site_folder(options).path
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(f"--home {path}: cannot be made ({error.strerror}).") from None
    return invitation


def make_key(options: argparse.Namespace) -> int:
    """Make the site's key where it will be used; only its public half is for others."""
    home = site_folder(options)
    read_invitation(options)
    if not home.key.exists():
        key = ec.generate_private_key(ec.SECP384R1())
        home.key.touch(mode=0o600)
        home.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.OpenSSH,
                serialization.NoEncryption(),
            )
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        write_atomically(home.public_key, public + f" {options.site}\n".encode())
    print(f"Send this file to the coordinator: {home.public_key}")
    print("It is not secret. The other half of the key stays here.")
    print(f"To compare by telephone: {fingerprint(home.public_key.read_bytes())}")
    return 0


def health(options: argparse.Namespace) -> int:
    """Whether the SuperNode of this site answers."""
    try:
        port = json.loads(site_folder(options).state.read_text())["port"]
        answer = httpx.get(f"http://127.0.0.1:{port}/health", timeout=5.0)
        well = answer.status_code == 200
    except (OSError, ValueError, KeyError, httpx.HTTPError):
        well = False
    print("at work" if well else "not at work")
    return 0 if well else 1


def join(options: argparse.Namespace) -> int:
    """Check, tell, and serve until ended."""
    home = site_folder(options)
    invitation = read_invitation(options)
    hospital = SiteSettings(
        site=options.site,
        data_dir=str(Path(options.data_dir).absolute()),
        folder=str(home.path),
        task=invitation.task,
        sources=options.sources,
        cache_dir=options.cache_dir or str(home.path / "cache"),
        min_count=options.min_count,
        device=options.device,
    )
    write_atomically(home.ca, invitation.ca.encode())
    if options.print:
        command = supernode_command(invitation, home, hospital, free_port())
        print(f"FLWR_HOME={shlex.quote(str(home.path / 'flwr'))} {shlex.join(command)}")
        return 0
    if not home.key.exists():
        make_key(options)
    if not home.secret.exists():
        home.secret.touch(mode=0o600)
        home.secret.write_bytes(secrets.token_bytes(32))
    console = Console(highlight=False, markup=False, soft_wrap=True)
    check_data(hospital, console, options.workers)
    console.print(egress_notice(invitation, hospital))
    log_to_file(home.path / "logs" / "site.log")
    check_coordinator(invitation, home, console)
    return serve(invitation, home, hospital, console)


def supernode_command(
    invitation: Invitation, home: SiteFolder, hospital: SiteSettings, port: int
) -> list[str]:
    """Flower's SuperNode, which leaves the visits to this process."""
    return [
        *(
            sys.executable,
            "-m",
            "clients.deploy.supernode_internals",
            "--superlink",
            invitation.address,
        ),
        *("--root-certificates", str(home.ca)),
        *("--auth-supernode-private-key", str(home.key)),
        *("--isolation", "process", "--superexec-auth-secret-file", str(home.secret)),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--node-config", hospital.node_config()),
    ]


def check_data(hospital: SiteSettings, console: Console, workers: int) -> None:
    """Read every recording once, say what cannot be used, and preprocess the rest."""
    # Imported here: a mistake in a flag, or the making of a key, should not wait for torch.
    from clients.deploy.deployed_site import site_cohort, site_partition
    from fl.datasets.data_report import check
    from fl.datasets.source_selection import select_sources
    from fl.ecg.tasks import TASKS

    folder = Path(hospital.data_dir)
    if not folder.is_dir():
        raise ConfigError(f"--data-dir {folder}: is no folder.")
    console.print(f"Reading every recording under {folder}")
    config = hospital.run_config()
    sources = list(select_sources(config).sources.values())
    report = check(sources, folder, task=TASKS[hospital.task])
    for table in report.tables():
        console.print(table)
    console.print("Preparing what can be used, unless it is prepared already")
    site_cohort(hospital, workers)
    site_partition(hospital, 0)


def egress_notice(invitation: Invitation, hospital: SiteSettings) -> str:
    """In one screen: what leaves the building, and what does not."""
    return f"""
HeartFed {fl.__version__}, federation {invitation.federation!r}: this site is {hospital.site!r}
Research software. Not a medical device: no result of it may guide the care of a patient.

What leaves, encrypted, to {invitation.address} alone, and only after this list was checked:
  - weights of the network after each training visit
  - numbers of records: for training, validation and test; per lead; per class annotated
  - tallies: how many records of each class got which range of scores, summed losses
  - at the end, measures over all test records (F1, AUROC, ...), per class and together
  - this site's name, the names of its data sets, and its public key
  - of a failure one of a few general reasons, never its words
Nothing is reported of a class that fewer than {hospital.min_count} records show, or lack
(--min-count).

What does not leave: recordings, patients, record and file names, ages, sexes, the prediction of
any single record, this site's private key. They are never put into a message.
Weights are learnt from the recordings, and someone who sees them could try to learn of those:
what is known of this, and what is not done against it, is in docs/deploy.md.

The run's programme is the one installed here; none is accepted from the coordinator.
Log, splits, predictions and this site's own report: {hospital.folder}
"""


def check_coordinator(invitation: Invitation, home: SiteFolder, console: Console) -> None:
    """`ConfigError` if the coordinator is not who the invitation says; not if it is away."""
    trusted = ssl.create_default_context(cafile=str(home.ca))
    try:
        httpx.get(f"https://{invitation.address}/health", verify=trusted, timeout=10.0)
    except httpx.ConnectError as error:
        words = str(error).lower()
        if "certificate" in words or "ssl" in words:
            raise ConfigError(
                f"{invitation.address} does not show a certificate of federation "
                f"{invitation.federation!r}. Ask the coordinator, by another way, for a new "
                "invitation, and do not join before you know why."
            ) from None
        console.print(f"{invitation.address} cannot be reached ({error}); trying on")
    except httpx.HTTPError as error:
        console.print(f"{invitation.address} does not answer ({error}); trying on")


def serve(
    invitation: Invitation, home: SiteFolder, hospital: SiteSettings, console: Console
) -> int:
    """Keep a SuperNode running, and do the visits that it brings, until ended."""
    log = logging.getLogger("heartfed")
    console.print(f"{home.site}: serving; log in {home.path / 'logs' / 'site.log'}")
    since, told = time.monotonic(), False
    while True:
        connected = threading.Event()
        node = run_supernode(invitation, home, hospital, console, connected)
        if connected.is_set():
            since, told = time.monotonic(), False
        check_admission(node, home, connected.is_set(), time.monotonic() - since)
        log.warning("the SuperNode ended (%s); it is started again", node.ended)
        if not told:
            console.print(f"{home.site}: not connected; trying on")
            told = True
        time.sleep(RESTART)


def run_supernode(
    invitation: Invitation,
    home: SiteFolder,
    hospital: SiteSettings,
    console: Console,
    connected: threading.Event,
) -> ChildProcess:
    """A SuperNode from its start to its end, with its visits; `connected` once it was let in."""
    # Imported here: a mistake in a flag, or the making of a key, should not wait for torch.
    from clients.app import app
    from clients.deploy.task_runner import TaskRunner

    arrived = threading.Event()

    def told(line: str) -> None:
        logging.getLogger("heartfed").info("supernode: %s", line)
        if ARRIVED in line:
            arrived.set()
        if CONNECTED in line:
            home.admitted.touch()
            connected.set()
            console.print(f"{home.site}: connected to {invitation.address}")

    port = free_port()
    command = supernode_command(invitation, home, hospital, port)
    worker = TaskRunner(app, f"127.0.0.1:{port}", home.secret.read_bytes())
    node = ChildProcess(command, flower_environment(home.path / "flwr"), told)
    try:
        write_atomically(home.state, json.dumps({"port": port}).encode())
        run_tasks(worker, node, arrived)
    finally:
        node.stop()
        worker.close()
    return node


def run_tasks(worker: "TaskRunner", node: ChildProcess, arrived: threading.Event) -> None:
    """Do the SuperNode's tasks until it ends, each once its message has `arrived`.

    A task is there before its message: taken then, it waits whole seconds for the missing parts.
    """
    looked = time.monotonic()
    while node.ended is None:
        if arrived.wait(0.5) or time.monotonic() - looked > UNTOLD:
            arrived.clear()
            worker.take()
            looked = time.monotonic()
        raise_if_stopping()


def check_admission(node: ChildProcess, home: SiteFolder, connected: bool, waited: float) -> None:
    """`ConfigError` if the SuperNode ended because the coordinator will not have it."""
    if node.ended == 0:  # it took its leave by itself: what it signed was refused
        home.admitted.unlink(missing_ok=True)
        if not connected:
            raise ConfigError(
                "the coordinator does not accept what this site signs. Is the clock of this "
                "machine right? It may not be 5 s ahead of the coordinator's, or 5 min behind it."
            )
    elif NOT_LET_IN in " ".join(node.last):
        if home.admitted.exists() and waited < NODE_LAPSE:
            return  # this site's last connection may not have lapsed yet
        home.admitted.unlink(missing_ok=True)
        raise ConfigError(
            "the coordinator does not admit this key: it is not approved yet, or revoked, or in "
            f"use by another `join`. Send {home.public_key} to the coordinator and run this again "
            "once it is approved."
        )


if __name__ == "__main__":
    exit_immediately(main())
