"""Run Flower's SuperLink on loopback and the reverse proxy before it."""

import argparse
import logging
import shlex
import socket
import sys
import threading
import time

import uvicorn

from fl.messages.invitation import host_and_port
from fl.util.child_process import ChildProcess, flower_environment, log_to_file
from fl.util.errors import FederationError
from fl.util.network.ports import require_free_port
from fl.util.private_files import make_tree_private
from server.deploy.audit.federation_log import note, note_order
from server.deploy.certificates import (
    certificate_lines,
    certificate_warnings,
    require_valid_certificates,
)
from server.deploy.federation_store import (
    FEDERATION,
    FederationFolder,
    FederationSettings,
    write_connection,
)
from server.deploy.fleet_proxy import proxy_app
from server.deploy.proxy.limited_server import limited_server

LOOK = 0.2  # seconds between looks whether the SuperLink has ended
DAY = 86400.0  # seconds between warnings of certificates
WORDS = 400  # characters of its last lines in an error


def serve(options: argparse.Namespace) -> int:
    """Run SuperLink and reverse proxy until ended; 1 if the SuperLink ends by itself."""
    folder = FederationFolder(options.federation.absolute())
    settings = folder.settings()
    command = superlink_command(folder)
    if options.print:
        print(f"FLWR_HOME={shlex.quote(str(folder.flower_home))} {shlex.join(command)}")
        listened = host_and_port(settings.listen, settings.port)
        print(f"and the reverse proxy, https://{listened}, before it")
        return 0
    require_valid_certificates(folder.ca, folder.certificate)
    require_free_ports(folder)
    write_connection(folder)  # federation.toml may have been changed
    make_tree_private(folder.path)  # keys, jobs and logs, as an earlier version wrote them
    log = log_to_file(folder.path / "logs" / "serve.log")
    proxy = proxy_server(folder)
    environment = flower_environment(folder.flower_home, **{FEDERATION: str(folder.path)})
    superlink = ChildProcess(command, environment, lambda line: log.info("superlink: %s", line))
    threading.Thread(target=_end_together, args=(superlink, proxy), daemon=True).start()
    note_order(folder, "serving", address=settings.address)
    for line in certificate_lines(folder.ca, folder.certificate):
        print(line, flush=True)
    warn_of_certificates(folder)
    threading.Thread(target=_announce, args=(settings, superlink, proxy), daemon=True).start()
    try:
        proxy.run()
    finally:
        ended = superlink.ended
        superlink.stop()
        note(folder, "ended", superlink_status=ended)
    if ended is not None:
        last = " ".join(superlink.last)[-WORDS:]
        raise FederationError(f"the SuperLink ended with status {ended}: {last}")
    return 0


def require_free_ports(folder: FederationFolder) -> None:
    """`ConfigError` if another program has the port for the sites, or the SuperLink's."""
    settings, path = folder.settings(), folder.path / "federation.toml"
    busy = f"Is another `serve` at work? End the other program, or change {{}} in {path}"
    require_free_port(
        *(settings.listen, settings.port),
        "the port for the sites",
        f"{busy.format('`port`')}, and send every site a new invitation.",
    )
    require_free_port(
        *("127.0.0.1", settings.superlink_port),
        "the SuperLink's port",
        f"{busy.format('`superlink_port`')}.",
    )


def warn_of_certificates(folder: FederationFolder) -> None:
    """Warn now and once a day of a certificate that ends soon."""
    for line in certificate_warnings(folder.ca, folder.certificate):
        print(line, file=sys.stderr, flush=True)
        logging.getLogger("heartfed").warning(line)
    again = threading.Timer(DAY, warn_of_certificates, [folder])
    again.daemon = True
    again.start()


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


def proxy_server(folder: FederationFolder) -> uvicorn.Server:
    """The reverse proxy, with the federation's certificate, on the address for the sites."""
    settings = folder.settings()
    return limited_server(
        proxy_app(folder),
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


def _announce(settings: FederationSettings, superlink: ChildProcess, proxy: uvicorn.Server) -> None:
    """Print where sites are awaited once both programs accept connections: `health` then agrees."""
    while not (proxy.started and accepts_connections("127.0.0.1", settings.superlink_port)):
        if superlink.ended is not None or proxy.should_exit:
            return
        time.sleep(LOOK)
    print(f"{settings.name}: sites are awaited at {settings.address}", flush=True)


def accepts_connections(host: str, port: int) -> bool:
    """Whether a program listens there."""
    try:
        socket.create_connection((host, port), LOOK).close()
    except OSError:
        return False
    return True


def _end_together(superlink: ChildProcess, proxy: uvicorn.Server) -> None:
    """A proxy with nothing behind it is of no use: whoever keeps us running starts both again."""
    while superlink.ended is None:
        time.sleep(LOOK)
    proxy.should_exit = True
