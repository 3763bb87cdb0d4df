"""`heartfed serve [RUN] [--weights W ...]`: a local web application for recordings and runs.

Upload a recording and see what the models answer and why; watch a monitor; follow runs. It listens
on this machine alone unless --host says otherwise, keeps nothing of an upload on disk, and ends
with Ctrl-C. Research software, not a medical device.
"""

import argparse
import contextlib
import errno
import ipaddress
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import uvicorn

from fl.evaluation.decisions.thresholds import POOLED_SOURCE
from fl.predict.recording_flags import DISCLAIMER
from fl.predict.saved_model import load_model
from fl.util.command_line import CommandParser
from fl.util.errors import ConfigError, exit_code
from heartfed.web.application import application
from heartfed.web.settings import MIB, OneTimeToken, ServedModel, Settings, TokenUsed

WAIT = 2  # seconds that answers may still take after Ctrl-C


def main(arguments: Sequence[str] | None = None, prog: str = "heartfed serve") -> int:
    """Exit codes: 0 ended by Ctrl-C, 2 a user's mistake."""
    options = parser(prog).parse_args(arguments)
    return exit_code(prog, lambda: serve(options), "ended", ended=0)


def parser(prog: str) -> argparse.ArgumentParser:
    """The flags; the models of a run directory and those named by --weights are served."""
    made = CommandParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("run", nargs="?", type=Path, metavar="RUN", help="a run directory")
    made.add_argument(
        *("--weights", "-w"),
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="W",
        help="files of trained models, e.g. runs/NAME/weights/fedavg-best.safetensors",
    )
    made.add_argument(
        "--source",
        default=POOLED_SOURCE,
        help="use the calibration and thresholds of this source [%(default)s]",
    )
    made.add_argument(
        "--runs", type=Path, default=Path("runs"), help="parent of the run directories [runs]"
    )
    made.add_argument(
        "--recordings",
        type=Path,
        metavar="DIR",
        help="folder of recordings that the monitor may replay",
    )
    made.add_argument("--host", default="127.0.0.1", help="address to listen on [%(default)s]")
    made.add_argument("--port", type=_port, default=8765, help="0: any that is free [%(default)s]")
    made.add_argument(
        "--max-upload-mib",
        type=_size,
        default=32,
        metavar="MIB",
        help="refuse larger uploads [%(default)s]",
    )
    return made


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value < 65536:
        raise argparse.ArgumentTypeError(f"{text} is no port; ports are 0 to 65535")
    return value


def _size(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 1024:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to 1024 MiB")
    return value


def serve(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    models = load_models(options.run, options.weights, options.source)
    with listening(options.host, options.port) as bound:
        settings = settings_for(options, models, bound)
        server = Server(settings)
        address = address_of(bound)
        token = f"?token={settings.token.value}" if settings.token else ""
        print(DISCLAIMER, file=sys.stderr)
        print(f"Open {address}{token}  (Ctrl-C ends it)", flush=True)
        # uvicorn ends its answers first and raises it then.
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[bound])
    print("ended", file=sys.stderr)
    return 0


def load_models(run: Path | None, weights: Sequence[Path], source: str) -> tuple[ServedModel, ...]:
    """The models of a run directory and those named; `ConfigError` says which cannot be used."""
    paths = list(weights)
    if run is not None:
        if not (run / "run.json").is_file():
            raise ConfigError(f"{run}: is no run directory (it has no run.json).")
        paths = [*weights_of_run(run), *paths]
    paths = list({path.absolute(): path for path in paths}.values())
    models = [load_model(path) for path in paths]
    for model in models:
        model.require_source(source)
    names = unique_names(paths)
    return tuple(
        ServedModel(name=name, path=path, model=model)
        for name, path, model in zip(names, paths, models, strict=True)
    )


def weights_of_run(run: Path) -> list[Path]:
    """The models of a run but those of single sites: one of each strategy."""
    found = sorted((run / "weights").glob("*-best.safetensors"))
    return [path for path in found if "-site-" not in path.name]


def unique_names(paths: Sequence[Path]) -> list[str]:
    """A name for each file of weights: with its run directory where two would be the same."""
    short = [path.stem.removesuffix("-best") for path in paths]
    long = [
        f"{path.absolute().parent.parent.name}/{name}"
        for path, name in zip(paths, short, strict=True)
    ]
    names = [b if short.count(a) > 1 else a for a, b in zip(short, long, strict=True)]
    return [
        f"{name} ({names[:i].count(name) + 1})" if names.count(name) > 1 else name
        for i, name in enumerate(names)
    ]


def listening(host: str, port: int) -> socket.socket:
    """A socket bound to the address; `ConfigError` if it cannot be."""
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError:
        raise ConfigError(
            f"--host is {host!r}, which is no address of this machine. Usual: 127.0.0.1 (this "
            "machine alone), 0.0.0.0 (every address of it)."
        ) from None
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(place)
        bound.listen()
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"--port {port}: another program listens there. Name another, or 0 for any that "
                "is free."
            ) from None
        raise ConfigError(
            f"--host {host} --port {port}: cannot listen there ({error.strerror})."
        ) from None
    return bound


def settings_for(
    options: argparse.Namespace, models: tuple[ServedModel, ...], bound: socket.socket
) -> Settings:
    """The settings of the application on a bound socket; beyond loopback it asks for a token."""
    beyond = not ipaddress.ip_address(bound.getsockname()[0]).is_loopback
    names = {socket.gethostname().lower(), socket.getfqdn().lower()} if beyond else set()
    return Settings(
        models=models,
        runs=options.runs,
        run=options.run,
        recordings=options.recordings,
        source=options.source,
        most_upload=options.max_upload_mib * MIB,
        host_names=frozenset(names),
        beyond_loopback=beyond,
        token=OneTimeToken() if beyond else None,
        token_used=TokenUsed(address_of(bound)) if beyond else None,
    )


def address_of(bound: socket.socket) -> str:
    """Where a browser finds it; an address that stands for all is shown as this machine's name."""
    host, port = bound.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = socket.gethostname()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


class Server(uvicorn.Server):
    """uvicorn, which lets long answers know that it ends."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(
            uvicorn.Config(
                application(settings),
                log_level="critical",  # its errors would show tracebacks; see heartfed/web/guard.py
                access_log=False,  # names of files could name a patient
                server_header=False,
                ws="none",
                timeout_graceful_shutdown=WAIT,
            )
        )
        self.closing = settings.closing

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first Ctrl-C ends it when all is answered; the second at once."""
        self.closing.set()
        super().handle_exit(sig, frame)
