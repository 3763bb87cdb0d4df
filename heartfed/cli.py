"""The command `heartfed`: one subcommand for each thing that HeartFed does."""

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import fl  # first: it turns telemetry off before flwr and ray are imported
from fl.util.errors import did_you_mean


@dataclass(frozen=True)
class Command:
    """A subcommand: a module whose `main(arguments, prog)` returns the exit code."""

    module: str
    summary: str


COMMANDS = {
    "simulate": Command("run_sim", "train one model over simulated hospitals"),
    "data": Command("fl.datasets.__main__", "check, download and plot recordings"),
    "predict": Command("fl.predict.__main__", "apply a model to recordings"),
    "explain": Command("fl.explain.__main__", "show where a model looked, and what it learned"),
    "monitor": Command("fl.monitor.__main__", "heartbeats, rhythm and alarms as they happen"),
    "report": Command("fl.reports.__main__", "write the pages of runs again"),
    "serve": Command("heartfed.web.serve", "open a web page: upload, explain, watch"),
    "runs": Command("heartfed.runs", "list, compare and show runs"),
    "coordinator": Command("server.deploy.__main__", "coordinate a federation of real hospitals"),
    "site": Command("clients.deploy.__main__", "take part in a federation as a hospital"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: those of the subcommand; 2 if there is no such subcommand."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = given[0] if given else "--help"
    if name in ("-h", "--help"):
        print(help_text())
        return 0
    if name == "--version":
        print(f"HeartFed {fl.__version__}")
        return 0
    if name not in COMMANDS:
        guess = did_you_mean(name, COMMANDS)
        print(
            f"heartfed: error: unknown command {name}.{guess} Known: {', '.join(COMMANDS)}. "
            "Help: heartfed --help",
            file=sys.stderr,
        )
        return 2
    # Imported here: each command loads what it needs, some of it takes seconds.
    module = importlib.import_module(COMMANDS[name].module)
    code: int = module.main(given[1:], prog=f"heartfed {name}")
    return code


def help_text() -> str:
    """Every subcommand in one screen."""
    width = max(map(len, COMMANDS))
    return "\n".join(
        [
            "usage: heartfed COMMAND [...]",
            "",
            "Federated learning on electrocardiograms that hospitals may not share.",
            "Research software, no medical device.",
            "",
            *(f"  {name:{width}}  {command.summary}" for name, command in COMMANDS.items()),
            "",
            "`heartfed COMMAND --help` shows the flags of a command; `heartfed --version` the",
            "version. Exit codes: 0 done, 2 a mistake that the message names, 1 anything else.",
        ]
    )
