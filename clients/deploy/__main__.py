"""A hospital on the command line: join a federation, keep its records, and see that it works.

`python -m clients.deploy join INVITATION --data-dir D --site NAME` checks the data, shows what
leaves the hospital and what does not, and serves. `init` only makes the site's folder and its
policy, which says what a coordinator may ask; `key` only makes the site's key; `trust` keeps other
hospitals' public keys, for secure aggregation; `renew` takes the
authority's new certificate from a new invitation; `health` reports whether the site is at work.
`audit verify` checks its audit log, `audit show` prints it.
`personalize --weights MODEL.safetensors --data-dir D --out FOLDER` needs no federation: it makes
the hospital's own model of a federation's, from its own recordings, and measures it on patients
who had no part in it.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import fl  # noqa: F401  (first: it turns telemetry off before flwr is imported)
from clients.deploy.health import show_health
from clients.deploy.join import join
from clients.deploy.join_checks import renew
from clients.deploy.keys import make_key, trust
from clients.deploy.site_folder import init, site_folder
from clients.deploy.site_settings import MIN_COUNT
from fl.config.strategy_traits import STRATEGY_TRAITS
from fl.privacy.audit_log.commands import ACTIONS, WHAT, add_audit_flags, audit
from fl.privacy.audit_log.log_file import FOLDER_NAME
from fl.util.child_process import exit_immediately, handle_stop_signals
from fl.util.command_line import CommandParser
from fl.util.errors import exit_code
from fl.util.network.proxies import exempt_loopback
from fl.util.private_files import private_files


def personalize(options: argparse.Namespace) -> int:
    """A model of the hospital's own, from a model file and its own recordings."""
    # Imported here: a mistake in a flag, or the making of a key, should not wait for torch.
    from clients.deploy.personalize import personalize as make_own_model

    return make_own_model(options)


def audit_log(options: argparse.Namespace) -> int:
    """Check or print the site's audit log."""
    return audit(options, site_folder(options).path / FOLDER_NAME)


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "init": init,
    "join": join,
    "key": make_key,
    "trust": trust,
    "renew": renew,
    "health": show_health,
    "audit": audit_log,
    "personalize": personalize,
}
METHODS = [name for name, traits in STRATEGY_TRAITS.items() if traits.own_models]


def parser(prog: str) -> argparse.ArgumentParser:
    """The commands of a site."""
    made = CommandParser(prog=prog, description=__doc__)
    commands = made.add_subparsers(dest="command", required=True)
    making = commands.add_parser("init", help="make the site's folder and its policy")
    joining = commands.add_parser("join", help="take part in a federation")
    key = commands.add_parser("key", help="make this site's key, and nothing else")
    trusting = commands.add_parser("trust", help="know other hospitals for secure aggregation")
    renewing = commands.add_parser("renew", help="trust the authority's new certificate")
    health = commands.add_parser("health", help="whether the site is at work: exit code 0 or 1")
    for command in (making, joining, key, trusting, renewing):
        command.add_argument("invitation", type=Path, help="file that the coordinator sent")
    trusting.add_argument(
        "keys", type=Path, nargs="+", metavar="KEY.pub", help="public keys that they sent"
    )
    own = commands.add_parser("personalize", help="a model of the hospital's own, from a file")
    auditing = commands.add_parser("audit", help=WHAT)
    auditing.add_argument("action", choices=ACTIONS)
    add_audit_flags(auditing)
    for command in (making, joining, key, trusting, renewing, health, auditing):
        command.add_argument("--site", required=True, help="this site's name in the federation")
        command.add_argument("--home", type=Path, help="site folder [heartfed-SITE]")
    _add_join_flags(joining)
    _add_personalize_flags(own)
    for command in (joining, own):
        _add_data_flags(command)
    return made


def _add_personalize_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("--weights", type=Path, required=True, help="the federation's model")
    command.add_argument("--task", default="", help="accept only a model for this task")
    command.add_argument(
        "--method", choices=METHODS, default="map-head", help="how it is made [map-head]"
    )
    command.add_argument("--out", type=Path, required=True, help="folder for the model")
    command.add_argument("--site", default="hospital", help="the hospital's name [hospital]")
    command.add_argument("--cache-dir", default="", help="preprocessed recordings [user's cache]")


def _add_data_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data-dir", required=True, help="folder of the recordings")
    command.add_argument("--sources", default="", help="data sets there, or NAME=FOLDER [all]")
    command.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    command.add_argument("--workers", type=int, default=1, help="processes that preprocess [1]")
    command.add_argument(
        "--ignore-checksums",
        action="store_true",
        help="also use recordings that do not match the checksums in their headers",
    )


def _add_join_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--min-count",
        type=int,
        default=MIN_COUNT,
        help="fewest patients behind a count that may leave [5]",
    )
    command.add_argument("--cache-dir", default="", help="preprocessed recordings [HOME/cache]")
    command.add_argument("--print", action="store_true", help="only show what would be run")


def main(argv: Sequence[str] | None = None, prog: str = "python -m clients.deploy") -> int:
    """Exit codes: 0 done, 2 something for the user to mend, 1 anything else."""
    options = parser(prog).parse_args(argv)
    handle_stop_signals()
    exempt_loopback()  # a site's own processes speak to each other
    command = COMMANDS[options.command]
    program = prog.removeprefix("python -m ")
    with private_files():
        return exit_code(program, lambda: command(options), "ended", ended=0)


if __name__ == "__main__":
    exit_immediately(main())
