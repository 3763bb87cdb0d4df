"""The coordinator on the command line: make a federation, admit hospitals, run it.

`init` makes its folder; `serve` runs the SuperLink and the reverse proxy before it; `invite`,
`approve` and `revoke` decide who takes part; `status` shows who is connected; `run` trains;
`audit verify` checks the audit log, and `audit show` prints it.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import fl  # noqa: F401  (first: it turns telemetry off before flwr is imported)
from fl.config.run_config import choices_of
from fl.privacy.audit_log.commands import ACTIONS, WHAT, add_audit_flags
from fl.privacy.audit_log.log_file import KEEP_DAYS
from fl.util.child_process import handle_stop_signals
from fl.util.command_line import CommandParser
from fl.util.errors import exit_code
from fl.util.network.proxies import forget_proxies
from fl.util.private_files import private_files
from server.deploy.admission import approve, invite, revoke
from server.deploy.audit.federation_log import audit_log
from server.deploy.new_federation import init, renew
from server.deploy.status import show_health, show_status
from server.deploy.superlink_process import serve


def run(options: argparse.Namespace) -> int:
    """Train; the work is imported only now, as it loads torch."""
    from server.deploy.run import run as train

    return train(options)


# Each command: what does it, and its help.
COMMANDS: dict[str, tuple[Callable[[argparse.Namespace], int], str]] = {
    "init": (init, "make the folder of a new federation"),
    "serve": (serve, "run SuperLink and reverse proxy, until ended"),
    "invite": (invite, "write the invitation for one hospital"),
    "approve": (approve, "admit a hospital by its public key, SITE.pub"),
    "revoke": (revoke, "shut a hospital out"),
    "status": (show_status, "who takes part, who is connected, how far the last run is"),
    "run": (run, "train, with the flags and the run directory of run_sim.py"),
    "renew": (renew, "make a new server certificate, with the same key"),
    "health": (show_health, "whether SuperLink and proxy are at work: exit code 0 or 1"),
    "audit": (audit_log, WHAT),
}


def parser(with_run_flags: bool, prog: str) -> argparse.ArgumentParser:
    """The commands of a coordinator; every one names the federation's folder first.

    `with_run_flags`: with all flags of `run`, for which much is loaded.
    """
    made = CommandParser(prog=prog, description=__doc__)
    commands = made.add_subparsers(dest="command", required=True)
    for name, (_, what) in COMMANDS.items():
        command = commands.add_parser(name, help=what, description=what)
        if name == "audit":
            command.add_argument("action", choices=ACTIONS)
            add_audit_flags(command)
        command.add_argument("federation", type=Path, help="folder of the federation")
        command.add_argument("--print", action="store_true", help="only show what would be run")
        if name in ("invite", "revoke"):
            command.add_argument("site", help="the hospital's name in the federation")
        elif name == "approve":
            command.add_argument("public_key", type=Path, help="SITE.pub, as the site sent it")
        elif name == "init":
            _add_init_flags(command)
        elif name == "renew":
            command.add_argument(
                "--authority", action="store_true", help="also the authority's certificate"
            )
        elif name == "run" and with_run_flags:
            from server.deploy.run import add_run_flags

            add_run_flags(command)
    return made


def _add_init_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("--host", required=True, help="names and addresses of this machine")
    command.add_argument("--name", default="", help="of the federation [the folder's]")
    command.add_argument("--task", default="rhythm", choices=choices_of("task"))
    command.add_argument(
        "--audit-keep-days",
        type=int,
        default=KEEP_DAYS,
        help="after which a file of the audit log is removed; 0: never [%(default)s]",
    )
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
    forget_proxies()  # all that a coordinator speaks to is on this machine
    command, _ = COMMANDS[options.command]
    ended = 0 if options.command == "serve" else 1
    program = prog.removeprefix("python -m ")
    with private_files():
        return exit_code(program, lambda: command(options), "ended", ended)


if __name__ == "__main__":
    sys.exit(main())
