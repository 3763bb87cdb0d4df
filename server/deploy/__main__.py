"""The coordinator on the command line: make a federation, let hospitals in, run it.

`init` makes its folder; `serve` runs the SuperLink and the gate before it; `invite`, `approve`
and `revoke` say who takes part; `status` shows who is there; `run` trains.
"""

import argparse
import datetime
import json
import shlex
import ssl
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

import fl  # noqa: F401  (first: it turns telemetry off before flwr is imported)
from fl.messages.invitation import Invitation, fingerprint
from fl.privacy.egress_policy import NAME
from fl.util.child_process import ChildProcess, flower_environment, handle_stop_signals, log_to_file
from fl.util.command_line import CommandParser
from fl.util.errors import ConfigError, FederationError, exit_code
from server.deploy.federation_store import (
    CONNECTION,
    FEDERATION,
    PROGRESS,
    FederationFolder,
    FederationSettings,
    make_certificate,
    make_federation,
)
from server.deploy.flower_command import run_flower_command

if TYPE_CHECKING:
    import uvicorn


USED = "Public key already in use"  # as Flower says it


def parser(full: bool, prog: str) -> argparse.ArgumentParser:
    """The commands of a coordinator; every one names the federation's folder first.

    `full`: with all flags of `run`, for which much is loaded.
    """
    made = CommandParser(prog=prog, description=__doc__)
    commands = made.add_subparsers(dest="command", required=True)
    told = {
        "init": "make the folder of a new federation",
        "serve": "run the SuperLink and the gate, until ended",
        "invite": "write the invitation for one hospital",
        "approve": "let a hospital in by its public key, SITE.pub",
        "revoke": "shut a hospital out",
        "status": "who takes part, who is connected, how far the last run is",
        "run": "train, with the flags and the run directory of run_sim.py",
        "renew": "make a new server certificate from the federation's authority",
        "health": "whether SuperLink and gate are at work: exit code 0 or 1",
    }
    for name, what in told.items():
        command = commands.add_parser(name, help=what, description=what)
        command.add_argument("federation", type=Path, help="folder of the federation")
        command.add_argument("--print", action="store_true", help="only show what would be run")
        if name in ("invite", "revoke"):
            command.add_argument("site", help="the hospital's name in the federation")
        elif name == "approve":
            command.add_argument("public_key", type=Path, help="SITE.pub, as the site sent it")
        elif name == "init":
            _add_init_flags(command)
        elif name == "run" and full:
            from server.deploy.run import add_run_flags

            add_run_flags(command)
    return made


def _add_init_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("--host", required=True, help="names and addresses of this machine")
    command.add_argument("--name", default="", help="of the federation [the folder's]")
    command.add_argument("--task", default="rhythm", choices=("rhythm", "beat"))
    command.add_argument("--listen", default="0.0.0.0", help="address for the sites [%(default)s]")
    command.add_argument("--port", type=int, default=8443, help="for the sites [%(default)s]")
    command.add_argument(
        "--superlink-port", type=int, default=8000, help="on loopback [%(default)s]"
    )


def main(argv: Sequence[str] | None = None, prog: str = "python -m server.deploy") -> int:
    """Exit codes: 0 done, 2 something for the user to mend, 1 anything else."""
    given = sys.argv[1:] if argv is None else argv
    options = parser("run" in given[:1], prog).parse_args(given)
    handle_stop_signals()
    ended = 0 if options.command == "serve" else 1
    command = _command(options.command)
    program = prog.removeprefix("python -m ")
    return exit_code(program, lambda: command(options), "ended", ended)


def _command(name: str) -> Callable[[argparse.Namespace], int]:
    if name == "run":
        from server.deploy.run import run  # it loads torch, which no other command needs

        return run
    return {
        "init": init,
        "serve": serve,
        "invite": invite,
        "approve": approve,
        "revoke": revoke,
        "status": status,
        "renew": renew,
        "health": health,
    }[name]


def init(options: argparse.Namespace) -> int:
    """Make a federation's folder."""
    settings = FederationSettings(
        name=options.name or options.federation.absolute().name,
        task=options.task,
        hosts=tuple(host for host in options.host.split(",") if host),
        listen=options.listen,
        port=options.port,
        superlink_port=options.superlink_port,
    )
    for host in settings.hosts:
        if not NAME.fullmatch(host.replace(":", "")):
            raise ConfigError(f"--host is {host!r}. Give names or addresses, comma between them.")
    if options.print:
        print(f"a folder {options.federation} with an authority for {', '.join(settings.hosts)}")
        return 0
    folder = make_federation(options.federation, settings)
    print(f"Made {folder.path}. Keep ca.key and server.key secret; back the folder up.")
    print(f"Next: python -m server.deploy serve {options.federation}")
    return 0


def renew(options: argparse.Namespace) -> int:
    """A new server certificate; sites need nothing new, as they trust the authority."""
    folder = FederationFolder(options.federation.absolute())
    folder.settings()
    if options.print:
        print(f"{folder.certificate} and {folder.key} made anew")
        return 0
    make_certificate(folder)
    print("Made a new certificate. It is used when `serve` is started again.")
    return 0


def invite(options: argparse.Namespace) -> int:
    """Write a hospital's invitation."""
    folder = FederationFolder(options.federation.absolute())
    settings = folder.settings()
    if not NAME.fullmatch(options.site) or "." in options.site or "+" in options.site:
        raise ConfigError(
            f"SITE is {options.site!r}. A site's name has letters, digits, '-' and '_'."
        )
    path = folder.invitation(options.site)
    if options.print:
        print(f"an invitation written to {path}")
        return 0
    Invitation(
        federation=settings.name,
        site=options.site,
        address=settings.address,
        task=settings.task,
        ca=folder.ca.read_text(),
    ).write(path)
    print(f"Send this file to {options.site}, by a way on which nobody can exchange it: {path}")
    return 0


def approve(options: argparse.Namespace) -> int:
    """Let a hospital in by its public key."""
    folder = FederationFolder(options.federation.absolute())
    site = read_site(options.public_key)
    if not folder.invitation(site).exists():
        raise ConfigError(f"{site}: was not invited. `python -m server.deploy invite` does it.")
    if not options.print and folder.approved().get(site) in admitted(folder):
        raise ConfigError(f"{site}: is approved already. Revoke it first to take another key.")
    print(f"{site}: {fingerprint(options.public_key.read_bytes())}; compare it by telephone")
    key = str(options.public_key)
    try:
        output = run_flower_command(
            options, folder, "supernode", "register", key, CONNECTION, "--name", site
        )
    except FederationError as error:
        if USED not in str(error):
            raise
        raise ConfigError(
            f"{site}: this key was revoked, or is another site's, and is not taken. The hospital "
            "makes a new one: it deletes site.key in its folder and runs `key` again."
        ) from None
    if options.print:
        return 0
    node = next((n for n, name in admitted(folder).items() if name == site), None)
    if node is None:
        raise FederationError(f"{site}: the SuperLink did not take the key. {output}")
    folder.note_site(site, node=node, approved=_today(), revoked="")
    print(f"{site} may take part. It need only be started.")
    return 0


def admitted(folder: FederationFolder) -> dict[int, str]:
    """Node -> site, of those whose keys the SuperLink takes."""
    from server.deploy.superlink_client import list_nodes  # it loads Flower

    return {node.node: node.site for node in list_nodes(folder) if node.admitted}


def read_site(path: Path) -> str:
    """Whose key it is; `ConfigError` unless it is a public key as sites make them."""
    try:
        key = serialization.load_ssh_public_key(path.read_bytes())
        site = path.read_text().split()[2]
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from None
    except (ValueError, IndexError, UnsupportedAlgorithm):
        key, site = None, ""
    if not isinstance(key, ec.EllipticCurvePublicKey) or not NAME.fullmatch(site):
        raise ConfigError(
            f"{path}: is no site's public key. `python -m clients.deploy key` makes SITE.pub."
        )
    return site


def revoke(options: argparse.Namespace) -> int:
    """Shut a hospital out, at once and for good: its key is not taken again."""
    folder = FederationFolder(options.federation.absolute())
    node = folder.approved().get(options.site)
    if node is None:
        known = ", ".join(folder.approved()) or "none"
        raise ConfigError(f"{options.site}: takes no part. Approved sites: {known}.")
    run_flower_command(options, folder, "supernode", "unregister", str(node), CONNECTION)
    if not options.print:
        folder.note_site(options.site, revoked=_today())
        print(f"{options.site} is shut out.")
    return 0


def status(options: argparse.Namespace) -> int:
    """Who takes part, who is connected and since when not, and how far the last run is."""
    from server.deploy.superlink_client import last_seen, list_nodes  # it loads Flower

    folder = FederationFolder(options.federation.absolute())
    nodes = {node.node: node for node in list_nodes(folder)}
    for site, facts in sorted(folder.sites().items()):
        node = nodes.get(int(facts["node"]))
        state = "revoked" if facts["revoked"] else node.status if node else "unknown"
        print(f"{site:20} {state:12} last seen {last_seen(node)}")
    if not folder.sites():
        print("No site is approved yet.")
    jobs = sorted(folder.jobs.glob("*.json"), key=lambda path: path.stat().st_mtime)
    if jobs:
        print(run_progress(jobs[-1]))
    return 0


def run_progress(job: Path) -> str:
    """One line: the last run, its state and its round."""
    found = json.loads(job.read_text())
    folder = Path(found["workspace"])
    try:
        state = json.loads((folder / "run.json").read_text())["status"]
        told = [json.loads(line) for line in (folder / PROGRESS).read_text().splitlines()]
    except OSError:
        return f"Last run: {folder} (not begun, moved or deleted)"
    rounds = [given[0]["round"] for what, *given in told if what == "round"]
    done = rounds[-1] if rounds else 0
    return f"Last run: {folder}: {state}, round {done} of {found['config']['rounds']}"


def health(options: argparse.Namespace) -> int:
    """Whether the gate answers, and the SuperLink behind it."""
    folder = FederationFolder(options.federation.absolute())
    settings = folder.settings()
    host = "127.0.0.1" if settings.listen in ("0.0.0.0", "::") else settings.listen
    url = f"https://{host}:{settings.port}/health"
    try:
        trusted = ssl.create_default_context(cafile=str(folder.ca))
        well = httpx.get(url, verify=trusted, timeout=5.0).status_code == 200
    except httpx.HTTPError:
        well = False
    print("at work" if well else "not at work")
    return 0 if well else 1


def superlink_command(folder: FederationFolder) -> list[str]:
    """Flower's SuperLink on loopback, with TLS, keys of nodes, a database and its own log."""
    return [
        *("flower-superlink", "--host", "127.0.0.1"),
        *("--port", str(folder.settings().superlink_port)),
        *("--ssl-ca-certfile", str(folder.ca), "--ssl-certfile", str(folder.certificate)),
        *("--ssl-keyfile", str(folder.key), "--enable-supernode-auth"),
        *("--database", str(folder.database), "--disable-runtime-dependency-installation"),
        *("--log-file", str(folder.path / "logs" / "superlink.log")),
        *("--log-rotation-interval-hours", "24", "--log-rotation-backup-count", "14"),
    ]


def serve(options: argparse.Namespace) -> int:
    """Run the SuperLink and the gate until ended; 1 if the SuperLink ends by itself."""
    import uvicorn

    from server.deploy.fleet_proxy import proxy_app

    folder = FederationFolder(options.federation.absolute())
    settings = folder.settings()
    command = superlink_command(folder)
    if options.print:
        print(f"FLWR_HOME={shlex.quote(str(folder.flower_home))} {shlex.join(command)}")
        print(f"and the gate, https://{settings.listen}:{settings.port} to it")
        return 0
    log = log_to_file(folder.path / "logs" / "serve.log")
    env = flower_environment(folder.flower_home, **{FEDERATION: str(folder.path)})
    superlink = ChildProcess(command, env, lambda line: log.info("superlink: %s", line))
    gate = uvicorn.Server(
        uvicorn.Config(
            proxy_app(settings.superlink_port, folder.ca),
            host=settings.listen,
            port=settings.port,
            ssl_certfile=str(folder.certificate),
            ssl_keyfile=str(folder.key),
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=2,
        )
    )
    threading.Thread(target=_end_with, args=(superlink, gate), daemon=True).start()
    print(f"{settings.name}: sites are awaited at {settings.address}", flush=True)
    try:
        gate.run()
    finally:
        ended = superlink.ended
        superlink.stop()
    if ended is not None:
        raise FederationError(f"the SuperLink ended ({ended}): {' '.join(superlink.last)[-400:]}")
    return 0


def _end_with(superlink: ChildProcess, gate: "uvicorn.Server") -> None:
    """A gate with nothing behind it is of no use: whoever keeps us running starts both again."""
    while superlink.ended is None:
        time.sleep(0.2)
    gate.should_exit = True


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


if __name__ == "__main__":
    sys.exit(main())
