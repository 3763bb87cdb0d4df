"""Make the folder of a new federation, or a new server certificate for it."""

import argparse
import ipaddress

from fl.privacy.egress_policy import NAME
from fl.util.errors import ConfigError
from server.deploy.federation_store import (
    FederationFolder,
    FederationSettings,
    make_certificate,
    make_federation,
)


def init(options: argparse.Namespace) -> int:
    """Make a federation's folder."""
    settings = FederationSettings(
        name=options.name or options.federation.absolute().name,
        task=options.task,
        hosts=tuple(read_host(host) for host in options.host.split(",") if host),
        listen=read_host(options.listen),
        port=options.port,
        superlink_port=options.superlink_port,
    )
    if not settings.hosts:
        raise ConfigError("--host is empty. Give names or addresses, with commas between them.")
    if options.print:
        print(f"a folder {options.federation} with an authority for {', '.join(settings.hosts)}")
        return 0
    folder = make_federation(options.federation, settings)
    print(f"Made {folder.path}. Keep ca.key and server.key secret; back the folder up.")
    print(f"Next: python -m server.deploy serve {options.federation}")
    return 0


def read_host(text: str) -> str:
    """A name or an address; an IPv6 address may stand in brackets, as in a URL."""
    host = text.strip()
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if ":" in host:
        try:
            return str(ipaddress.IPv6Address(host))
        except ValueError:
            host = ""
    if not NAME.fullmatch(host):
        raise ConfigError(
            f"--host is {text!r}. Give names or addresses without a port, with commas between them."
        )
    return host


def renew(options: argparse.Namespace) -> int:
    """Make a new server certificate; sites need nothing new, as they trust the authority."""
    folder = FederationFolder(options.federation.absolute())
    folder.settings()
    if options.print:
        print(f"new {folder.certificate} and {folder.key}")
        return 0
    make_certificate(folder)
    print("Made a new certificate. It is used when `serve` is started again.")
    return 0
